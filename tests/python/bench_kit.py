"""Made-up results of a benchmark."""

from bench.environments import OWN

from bench import claims, grids, results, shapes


def case(name, direction="inference", dtype="float32", threads=2):
    """Return a case of a shape of the grids."""
    return shapes.Case(grids.select(name)[0], direction, dtype, threads)


def measured(where, peer, *seconds, **more):
    """Return a measurement of a call in each turn."""
    return results.Measurement(where, peer, seconds=list(seconds), calls=1, **more)


def make_run():
    """Return a run on AVX-512 with known limits, before any measurement."""
    limits = [
        {"isa": isa, "dtype": "float32", "threads": threads, "gflops": 100.0 * threads * factor}
        for threads in (1, 2)
        for isa, factor in (("avx2", 1), ("avx512", 2))
    ]
    return results.Run(
        machine={"processor": "a processor", "cores": 2},
        settings={"repeats": 3},
        versions={OWN: {"lstmcore": "1", "isa": "avx512"}},
        limits={
            "fma": limits,
            "read": [{"level": "L1", "threads": 2, "bytes": 20_000, "gigabytes": 300.0}],
        },
    )


def verdict(run, start, threads=2):
    """Return the one claim whose goal begins with `start`."""
    found = [claim for claim in claims.claims(run, threads) if claim.goal.startswith(start)]
    assert len(found) == 1, [claim.goal for claim in found]
    return found[0]

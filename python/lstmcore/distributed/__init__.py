"""Training on several processes, on one machine or many, with the same bits for any number.

Every process makes the same call, with all of the data::

    # train.py
    import lstmcore as lc

    model = make_model()
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=256, epochs=10, distributed=lc.distributed.MPI())

    $ mpirun -n 4 python -m mpi4py train.py

Each batch is divided into shards. A process computes the gradients of its shards, and all of them
are summed in one fixed order, so the weights have the same bits after each step whether there are
1, 2 or 100 processes, as long as the number of shards stays the same. `OneProcess` computes the
same without MPI.

Callbacks, lines and bars run on rank 0 alone; what they change (weights, options and slots of the
optimizer, `trainable`, rates of dropout, numbers that are attributes of a loss, `stop_training`) is
passed on to the others, and weights and slots are compared after each epoch. ``python -m
lstmcore.distributed``, started by ``mpirun``, checks an installation.
"""

from typing import TYPE_CHECKING

from lstmcore._suggest import public
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.mpi import MPI
from lstmcore.distributed.session import OneProcess

__all__ = ["MPI", "DistributedError", "OneProcess"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)

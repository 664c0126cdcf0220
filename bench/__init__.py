"""The benchmark: lstmcore beside its peers, and beside what the machine can do."""

"""Change files at random, yet so that most still get past their reader's first checks.

Each mutator is a function of a `random.Random` and of bytes, which returns other bytes. With the
same state it makes the same change.
"""

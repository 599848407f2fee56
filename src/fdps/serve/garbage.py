"""How often Python looks for objects that refer to each other and to nothing else."""

import gc

_COLLECTIONS = (10_000, 20, 20)  # objects, and younger collections, before each generation


def look_for_cycles_less_often() -> None:
    """Let a process that answers for a long time look for cycles less often; call it at the start.

    Every answer is some thousand objects that go away by themselves. By default they make Python
    look for cycles several times per answer, and at times among all that was ever loaded.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)

"""A plan of gc, and what came of it, as programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.maintenance.plan import Fate, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.maintenance.plan import Plan
    from stepaudio_cas.maintenance.sweep import Swept
    from stepaudio_cas.store.backend import Backend

REASONS: Final = {
    Fate.AGE: "age",
    Fate.MODEL: "model",
    Fate.ENTRIES: "entries",
    Fate.SIZE: "size",
}
UNREFERENCED: Final = "unreferenced"
LEFT: Final = "left by the dead"
UNUSED: Final = "model without entries"


def sums(plan: Plan) -> Iterator[tuple[tuple[str, str], Sum]]:
    """Yield how much goes, by reason and model."""
    for (fate, model), sum_ in sorted(plan.goes.items()):
        yield (REASONS[fate], model), sum_
    others = ((LEFT, plan.leftovers), (UNUSED, plan.fingerprints))
    if plan.orphaned.objects:
        yield (UNREFERENCED, ""), plan.orphaned
    for reason, found in others:
        if found:
            yield (reason, ""), Sum(bytes=sum(size for _, size in found))


def summary(
    backend: Backend, plan: Plan, swept: Swept | None, missed: tuple[int, int]
) -> dict[str, Any]:
    """Say in one document what there was, what goes and why, and what has gone."""
    stays = {"pinned": Fate.PINNED, "recent": Fate.RECENT, "newer_version": Fate.FOREIGN}
    return {
        "kind": "summary",
        "store": backend.url,
        "dry_run": swept is None,
        "found": plan.total._asdict(),
        "going": plan.going._asdict(),
        "reasons": [
            {"reason": reason, "model": model, **sum_._asdict()}
            for (reason, model), sum_ in sums(plan)
        ],
        "stay": {name: plan.staying(fate) for name, fate in stays.items()}
        | {"young_objects": plan.young_orphans},
        "over": {"entries": missed[0], "bytes": missed[1]},
        "removed": None
        if swept is None
        else {
            "entries": swept.entries,
            "objects": swept.objects,
            "others": swept.others,
            "bytes": swept.bytes,
            "spared": swept.spared,
            "failures": len(swept.failures),
        },
    }

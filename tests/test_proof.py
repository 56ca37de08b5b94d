"""The neighbour protocol, proven: every shape of up to five steps, every failing step, both styles.

With one fault of any kind anywhere, whatever the order of deliveries; nothing is kept in order.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from choreo.lab.explorer import Explorer
from choreo.lab.report import Conclusion, Report
from choreo.styles import STYLES
from services import catalogue
from tests.lab_sagas import of_shape, shapes

STEPS_MAX = 5

Case = tuple[tuple[int, ...], int | None, str]

CASES: list[Case] = [
    (shape, failing, style)
    for count in range(1, STEPS_MAX + 1)
    for shape in shapes(count)
    for failing in (None, *range(count))
    for style in STYLES
]


def explore(case: Case) -> Report:
    """Every state of one case, with one fault of any kind anywhere."""
    shape, failing, style = case
    return Explorer(of_shape(shape, failing), style, catalogue()).explore()


def test_the_protocol_is_safe_in_every_shape() -> None:
    """No state of any of them breaks an invariant, every run ends, and every kind of fault has fired."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        reports = dict(zip(CASES, pool.map(explore, CASES, chunksize=4), strict=True))

    assert {case: report.broken for case, report in reports.items() if report.verdict is not Conclusion.SAFE} == {}
    assert [case for case, report in reports.items() if report.never_fired] == []
    for (_, failing, _), report in reports.items():
        assert report.outcomes.keys() - {"stuck"} == {"completed" if failing is None else "compensated"}
    assert len(reports) == 320

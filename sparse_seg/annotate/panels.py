"""What the page shows beside the image, as HTML. Everything out of files is shown as text."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from sparse_seg.annotate.estimates import Estimate, more_to_halve
from sparse_seg.annotate.imagery import USUAL
from sparse_seg.annotate.jobs import TITLES
from sparse_seg.annotate.session import Session
from sparse_seg.palette import hex_colour

Points = Sequence[tuple[float, float]]


def panels(session: Session, image: str) -> dict[str, str]:
    """Id of an element of the page → what stands in it, for one image."""
    return {
        "look": _look(session),
        "classes": _classes(session, image),
        "images": _images(session, image),
        "areas": _areas(session, image),
        "offer": _offer(session),
        "checks": _checks(session),
        "questions": _questions(session),
        "jobs": _jobs(session),
    }


def button(act: str, text: str, shown: bool = True, **data: object) -> str:
    """A button that sends a request; data: its words."""
    words = "".join(f' data-{key.replace("_", "-")}="{escape(str(value))}"' for key, value in data.items())
    return f'<button data-do="{act}"{words}{"" if shown else " disabled"}>{escape(text)}</button>'


def _look(session: Session) -> str:
    imagery = session.state.imagery
    if not imagery.deep and all(picture.bands <= len(USUAL) for picture in imagery.pictures.values()):
        return ""
    fields = [("bands", " ".join(map(str, imagery.bands or USUAL)))]
    if imagery.deep and imagery.scale is not None:
        fields.append(("scale", " ".join(f"{v:g}" for v in imagery.scale)))
    title = {"bands": "bands", "scale": "black, white"}
    shown = [
        f'<label>{title[name]} <input name="{name}" value="{escape(said)}" size="12"></label>' for name, said in fields
    ]
    note = "<small>the map learns from them, too</small>"
    return f'<form data-do="look">{" ".join(shown)} <button>show</button> {note}</form>'


def _classes(session: Session, image: str) -> str:
    state = session.state
    here, all_, rarest = state.counts(image), state.counts(), state.rarest
    rows = []
    for k, row in enumerate(state.classes):
        key = str(k + 1) if k < 9 else ""
        mark = '<b class="rare" title="the rarest class">rarest</b>' if k == rarest else ""
        rows.append(
            f'<tr data-class="{k}"><td><kbd>{key}</kbd></td>'
            f'<td><input type="color" value="{hex_colour(row.colour)}" data-colour="{k}"></td>'
            f'<td><button data-pick="{k}">{escape(row.name)}</button>'
            f'<button class="small" data-rename="{k}" data-name="{escape(row.name)}" title="rename">✎</button></td>'
            f"<td>{here[k]}</td><td>{all_[k]}</td><td>{mark}</td></tr>"
        )
    head = "<tr><th></th><th></th><th>class</th><th>image</th><th>all</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table><button data-new-class>new class</button>"


def _images(session: Session, image: str) -> str:
    state, rows = session.state, []
    points = state.pixels("points")
    for k, name in enumerate(state.images):
        count = len(points.get(name, {}))
        bad = state.imagery.damaged.get(name)
        kind = " ".join(filter(None, ["here" if name == image else "", "" if count else "empty"]))
        what = f'<i title="{escape(bad)}">cannot be read</i>' if bad else str(count)
        rows.append(f'<li class="{kind}"><button data-image="{k}">{escape(name)}</button> {what}</li>')
    return f"<ul>{''.join(rows)}</ul>"


def _areas(session: Session, image: str) -> str:
    maps, classes = session.follow.maps, session.state.classes
    if maps is None or maps.fit is None:
        why = (
            session.follow.problem
            or session.follow.progress
            or "Place points of two classes: the map follows each click."
        )
        return f"<p>{escape(why)}</p>"
    rows = []
    doing = f"<p>{escape(session.follow.progress)}</p>" if session.follow.progress else ""
    for title, of in (("image", image), ("folder", None)):
        counts = maps.counts(of)
        now = shares_of(counts.values(), len(classes))
        if not sum(now):
            doing = doing or "<p>the map is being made</p>"
            continue
        both = counts.keys() & session.before.keys()  # what was mapped meanwhile is no change
        here, was = (shares_of([c[key] for key in both], len(classes)) for c in (counts, session.before))
        done, windows = maps.mapped(of)
        left = "" if done == windows else f", {done} of {windows} windows"
        rows.append(f"<tr><th colspan=3>{title}{left}</th></tr>")
        for k, row in enumerate(classes):
            change, share = 100 * (here[k] - was[k]), 100 * now[k]
            said = f"{change:+.1f}" if abs(change) >= 0.05 else ""
            bar = f'<span class="bar" style="width:{share:.1f}%;background:{hex_colour(row.colour)}"></span>'
            rows.append(
                f'<tr><td>{escape(row.name)}</td><td class="bars">{bar}</td>'
                f"<td>{share:.1f} % <small>{said}</small></td></tr>"
            )
    note = "<p><small>shares of what the probe has mapped so far; change since the click</small></p>"
    return f"{doing}<table>{''.join(rows)}</table>{note}"


def shares_of(counts: Iterable[NDArray[np.int64]], classes: int) -> list[float]:
    """Of each class in windows, from their pixels of each label; zeros without any."""
    pixels = sum(counts, np.zeros(256, np.int64))[:classes]
    shares: list[float] = (pixels / max(1, pixels.sum())).tolist()
    return shares


def _offer(session: Session) -> str:
    place = session.offered
    if place is None:
        return ""
    names = session.state.images
    kind = "check" if place.check else "next"
    note = " It is not trained on." if place.check else ""
    return (
        f'<p class="{kind}" data-image="{names.index(place.image)}" data-row="{place.row}" data-col="{place.col}">'
        f"<b>{escape(place.reason)}</b>{note} {escape(place.image)}, row {place.row}, column {place.col}</p>"
    )


def _checks(session: Session) -> str:
    found = session.estimates()
    if found is None:
        every = f"Every {session.every}th next place" if session.every else "No next place"
        return f"<p>{every} is a check point: random, not trained on. They score the map.</p>"
    scores, count = found
    names = [row.name for row in session.state.classes]
    titles = ["accuracy", "mIoU", *(f"IoU {name}" for name in names), *(f"area {name}" for name in names)]
    columns, head, gain = [[scores.accuracy, scores.miou, *scores.iou, *scores.area]], "", ""
    if (trained := session.network_estimates()) is not None:
        network, ahead = trained
        columns.append([network.accuracy, network.miou, *network.iou])  # areas do not depend on what is scored
        head = "<tr><th></th><th>probe</th><th>network</th></tr>"
        by = f"{100 * ahead.value:+.1f} ± {100 * ahead.half:.1f} pp".replace("-", "−")
        gain = "" if math.isnan(ahead.value) else f"<p>network − probe: {by} of accuracy</p>"
    elif session.unscored:
        gain = f"<p>the network's maps are not scored: {escape(session.unscored)}</p>"
    table = head + "".join(
        f"<tr><td>{escape(title)}</td>{''.join(f'<td>{_percent(e)}</td>' for e in row if e is not None)}</tr>"
        for title, row in zip(titles, zip_longest(*columns), strict=True)
    )
    missing = [names[k] for k in scores.missing]
    few = f"Two check points are needed of each class of the map; the figures leave out {', '.join(missing)}."
    need = f"<p>{escape(few)}</p>" if missing else ""
    more = f"<p>Check points: {count}; {more_to_halve(count)} more would halve the intervals (95 %).</p>"
    said = {n: (a, half) for n, a, half in session.scores if n <= count}  # one may have been taken back since
    line = curve([(n, a) for n, (a, _) in sorted(said.items())], 0, 1, [half for _, (_, half) in sorted(said.items())])
    title = f"<p><small>accuracy, 0 to 100 %, over check points {min(said)} to {max(said)}</small></p>" if line else ""
    return f"{need}<table>{table}</table>{gain}{more}{title}{line}"


def _percent(e: Estimate) -> str:
    return "–" if math.isnan(e.value) else f"{100 * e.value:.1f} ± {100 * e.half:.1f} %"


def curve(points: Points, low: float, high: float, halves: Sequence[float] = ()) -> str:
    """A line as SVG, within a band if `halves` of one are given; "" of fewer than two points."""
    if len(points) < 2:
        return ""
    left, right = points[0][0], points[-1][0]

    def line(some: Points) -> str:
        at = [(200 * (x - left) / (right - left or 1), 60 - 60 * (y - low) / (high - low or 1)) for x, y in some]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in at)

    ends = [[(x, min(high, max(low, y + s * h))) for (x, y), h in zip(points, halves, strict=False)] for s in (1, -1)]
    band = f'<polygon points="{line([*ends[0], *reversed(ends[1])])}"/>' if halves else ""
    return f'<svg viewBox="-2 -2 204 64">{band}<polyline points="{line(points)}"/></svg>'


def _questions(session: Session) -> str:
    said = []
    if session.trouble:
        said.append(f"<p>{escape(session.trouble)}</p>")
    for table, question in session.state.questions.items():
        said.append(
            f"<p>{escape(question.text)}</p><p>{button('answer', 'keep what is here', table=table, theirs=0)} "
            f"{button('answer', 'take the file', question.theirs is not None, table=table, theirs=1)}</p>"
        )
    return "".join(said)


def _jobs(session: Session) -> str:
    jobs = session.jobs
    parts = []
    for kind, text in TITLES.items():
        command = jobs.shown(kind)
        parts.append(button(kind, text, bool(command) and not jobs.running and not session.state.read_only))
        parts.append(f"<code>{escape(command)}</code>" if command else "")
    parts.append(button("stop", "stop") if jobs.running else "")
    parts.append(f"<p><b>{escape(jobs.status)}</b></p>" if jobs.status else "")
    epochs = jobs.epochs() if jobs.kind else []
    for key in ("train_loss", "val_miou", "val_accuracy"):
        line = [(k, row[key]) for k, row in enumerate(epochs, 1) if key in row]
        if line:
            values = [y for _, y in line]
            parts.append(f"<p>{key} {values[-1]:.3f}, epoch {len(line)}</p>{curve(line, min(values), max(values))}")
    if jobs.lines:
        parts.append(f"<pre>{escape(chr(10).join(list(jobs.lines)[-8:]))}</pre>")
    if session.trained is not None and not jobs.running:
        parts.append(f"<p>maps: <code>{escape(str(jobs.maps))}</code></p>")
    return "".join(parts)

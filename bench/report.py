# SPDX-License-Identifier: MPL-2.0
"""From what the benchmarks print to a table with verdicts, and plots."""

from stats import control, interval, median, ratio, rounds_of, verdict
from svg import plot

# What a ratio must reach, and what it aims at: row, part of the name, the two
# engines, whether it is better high, and what stands in cairn's place for the
# bound: L, the chain with the least of an event store's work, or a floor of
# fewer reads; "" where nothing is known to be in the way.  A time is the
# inverse of a rate.
TARGETS = (
    ("append", "1 outstanding", "P", "cairn", 1.3, 1.1, False, "L",
     "time of an append alone / P"),
    ("append", "64 outstanding", "cairn", "P", 0.6, 0.85, True, "L",
     "64 outstanding / P"),
    ("append", "256 outstanding", "cairn", "P", 0.6, 0.85, True, "L",
     "256 outstanding / P"),
    ("append", "1024 outstanding", "cairn", "P", 0.6, 0.85, True, "L",
     "1024 outstanding / P"),
    ("peers", "64 on 4 connections", "cairn", "redis", 2.5, 4, True, "L",
     "64 on 4 connections / Redis"),
    ("peers", "256 on 4 connections", "cairn", "redis", 3, 5, True, "L",
     "256 on 4 connections / Redis"),
    ("peers", "1 outstanding", "cairn", "postgres", 10, 20, True, "L",
     "1 outstanding / PostgreSQL"),
    ("peers", "64 on 4 connections", "cairn", "postgres", 10, 20, True, "L",
     "64 on 4 connections / PostgreSQL"),
    ("peers", "256 on 4 connections", "cairn", "postgres", 10, 20, True, "L",
     "256 on 4 connections / PostgreSQL"),
    ("scan", "mapped scan", "cairn", "C", 0.7, 0.9, True, "",
     "mapped scan with checksums / C"),
    ("scan", "mapped scan", "by event", "C", 0.7, 0.9, True, "",
     "the same, event by event / C"),
    ("lookup", "version lookup", "H", "cairn", 2.5, 1.5, False, "H2",
     "time of a version lookup / H"),
    ("lookup", "version lookup", "H2", "cairn", 2.5, 1.5, False, "",
     "time of a version lookup / H2, slot and event"),
)

PLOTTED = {"cairn": "Cairn", "P": "P, bare chain",
           "L": "L, the least of a store", "M": "M, without disk",
           "redis": "Redis", "postgres": "PostgreSQL"}


def find(rows, row, name):
    return next((r for r in rows if r["row"] == row and
                 r["name"].startswith(name)), None)


def judge(what, ours, theirs, least, aim, higher, aa, bound=None):
    """`bound` is the pair of rates that says what could be reached, and the
    control of the one in cairn's place; a line that is missed, as the bound
    itself is, is "out of reach"."""
    found = ratio(ours, theirs)
    judged = {"what": what, "ratio": found, "least": least, "aim": aim,
              "higher_is_better": higher, "control": aa,
              "bound": ratio(*bound[0]) if bound else None}
    for name, target in (("verdict", least), ("aim_verdict", aim)):
        judged[name] = verdict(found, target, higher, aa)
        if judged[name] == "missed" and bound and verdict(
                judged["bound"], target, higher, bound[1]) == "missed":
            judged[name] = "out of reach"
    return judged


def judge_fixed(rows):
    for (row, name, ours, theirs, least, aim, higher, bound,
         what) in TARGETS:
        r = find(rows, row, name)
        if r is None:
            continue
        rates = {e: r["engines"][e]["rates"] for e in r["engines"]}
        best = ([rates[bound if e == "cairn" else e] for e in (ours, theirs)],
                control(rates[bound])) if bound else None
        yield judge(what, rates[ours], rates[theirs], least, aim, higher,
                    control(rates["cairn"]), best)


def judge_batches(rows):
    """Each at the concurrency that is best for it."""
    batches = [r for r in rows if r["row"] == "peers" and r["batch"] > 1]

    def best(engine):
        return max((r["engines"][engine]["rates"] for r in batches),
                   key=median)

    for peer, title, least, aim in (("redis", "Redis", 4, 6),
                                    ("postgres", "PostgreSQL", 10, 20)):
        if batches:
            yield judge(f"batches of 100, each at its best / {title}",
                        best("cairn"), best(peer), least, aim, True,
                        control(best("cairn")),
                        ([best("L"), best(peer)], control(best("L"))))


def judge_sizes(rows):
    """The largest log against the smallest."""
    for row, least, aim, higher, what in (
            ("stored", 0.9, 0.98, True, "throughput at {} stored / at {}"),
            ("startup", 2, 1.1, False, "start-up with {} / with {}")):
        r = next((r for r in rows if r["row"] == row), None)
        if r is None:
            continue
        names = list(r["engines"])
        small, large = r["engines"][names[0]], r["engines"][names[-1]]
        pair = (large, small) if higher else (small, large)
        yield judge(what.format(names[-1], names[0]), pair[0]["rates"],
                    pair[1]["rates"], least, aim, higher,
                    control(small["rates"]))


def judge_all(rows):
    return [*judge_fixed(rows), *judge_batches(rows), *judge_sizes(rows)]


# ---- the table ---------------------------------------------------------------

def rate(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rates_table(rows):
    for r in rows:
        yield f"{r['name']} ({r['unit']}; median, 95 % interval)"
        for name, engine in r["engines"].items():
            per_round = rounds_of(engine["rates"])
            low, high, _ = interval(per_round)
            latency = [median(list(v)) for v in zip(*engine["latency_us"])]
            shown = ""
            if latency[0] > 0:
                shown = "   us: " + "  ".join(
                    f"p{100 * q:g} {v:,.0f}" for q, v in
                    zip(r["quantiles"][:-1], latency))
            events = median(per_round) * r["batch"]
            if r["batch"] > 1 and r["unit"] == "commits/s":
                shown = f"   {rate(events)} events/s" + shown
            yield (f"  {name:<10} {rate(median(per_round)):>11}  "
                   f"{rate(low):>11} .. {rate(high):<11}{shown}")
        yield ""


def verdicts_table(judged):
    yield (f"{'ratio':<48} {'found':>7} {'interval':>15} {'A/A':>5} "
           f"{'bound':>6} {'must':>8}  {'verdict':<13} {'aim':>6}")
    for j in judged:
        sign = ">=" if j["higher_is_better"] else "<="
        r, bound = j["ratio"], j["bound"]
        limit = f"{bound['middle']:.2f}" if bound else ""
        yield (f"{j['what']:<48} {r['middle']:>7.2f} "
               f"{r['low']:>7.2f}-{r['high']:<7.2f} "
               f"{j['control']['middle']:>5.2f} {limit:>6} "
               f"{sign:>3}{j['least']:>5}  "
               f"{j['verdict']:<13} {sign}{j['aim']:>4} {j['aim_verdict']}")
    if any(j["bound"] for j in judged):
        yield ("bound: the same ratio for L, the least of a store's work on "
               "the same chain; of a lookup, for H2")


# ---- plots -------------------------------------------------------------------

def points_of(rows, engine, x_of):
    points = []
    for r in rows:
        if engine in r["engines"]:
            per_round = rounds_of(r["engines"][engine]["rates"])
            low, high, _ = interval(per_round)
            points.append((x_of(r), median(per_round), low, high))
    return sorted(points)


def plot_outstanding(rows, row, connections, title):
    chosen = [r for r in rows if r["row"] == row and r["batch"] == 1 and
              r["connections"] in connections]
    series = {}
    for engine, label in PLOTTED.items():
        points = points_of(chosen, engine, lambda r: r["outstanding"])
        if len(points) > 1:
            series[label] = points
    if not series:
        return None
    return plot(title, "appends outstanding", "commits per second", series,
                y_log=True)


def plot_stored(rows):
    r = next((r for r in rows if r["row"] == "stored"), None)
    if r is None:
        return None
    points = []
    for name, engine in r["engines"].items():
        per_round = rounds_of(engine["rates"])
        low, high, _ = interval(per_round)
        points.append((int(name), median(per_round), low, high))
    return plot("Throughput against stored events, 256 outstanding",
                "events in the log", "commits per second",
                {"Cairn": sorted(points)})


def plot_latency(rows, row):
    """Percentiles as nines: 0.99 lies at 100, 0.999 at 1,000."""
    series = {}
    for r in rows:
        if (r["row"] != row or r["batch"] > 1 or r["connections"] > 1 or
                r["outstanding"] not in (1, 64, 256, 1024)):
            continue
        points = []
        for i, q in enumerate(r["quantiles"][:-1]):
            values = [v[i] for v in r["engines"]["cairn"]["latency_us"]]
            low, high, _ = interval(values)
            points.append((1 / (1 - q), median(values), low, high))
        series[r["name"]] = points
    if not series:
        return None
    picture = plot("Latency of a durable append", "percentile",
                   "microseconds", series, y_log=True,
                   x_ticks=[2, 10, 100, 1000])
    for tick, name in ((">2<", ">50 %<"), (">10<", ">90 %<"),
                       (">100<", ">99 %<"), (">1000<", ">99.9 %<")):
        # The first of them is the tick of the x axis.
        picture = picture.replace(tick, name, 1)
    return picture


def plots(rows):
    found = {
        "outstanding.svg": plot_outstanding(
            rows, "append", (1,),
            "Throughput against outstanding appends, one connection"),
        "peers.svg": plot_outstanding(
            rows, "peers", (1, 4),
            "Throughput against outstanding appends, four connections"),
        "stored.svg": plot_stored(rows),
        "latency.svg": plot_latency(rows, "append"),
    }
    return {name: text for name, text in found.items() if text}

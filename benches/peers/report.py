"""The Markdown tables of a comparison."""

KINDS = ["prefill", "decode"]


def tables(result):
    """A table for each model, and what belongs to all of them."""
    cells = result["cells"]
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    versions = ", ".join(result["versions"].values()) or "none"
    intro = (
        f"{result['cpu']}; tritforge {result['commit']}, peers: {versions}. Head in {result['head']} everywhere; prompt of "
        f"{result['prompt']} tokens, {result['decode']} tokens decoded after {result['depth']}; tokens a second, medians of "
        f"{result['repetitions']} interleaved repetitions (worst to best)."
    )
    return "\n\n".join([intro, *(table(model, [cell for cell in cells if cell["model"] == model]) for model in models)])


def table(model, cells):
    """The table of a model: a row for each engine, a column for each test and number of threads."""
    columns = [(kind, cell) for kind in KINDS for cell in cells]
    titles = [f"{kind}, {cell['threads']} thread{'s' if cell['threads'] > 1 else ''}" for kind, cell in columns]
    lines = [f"**{model}**", "", row(["engine", "type", "bits a weight", *titles]), row(["---"] * (3 + len(columns)))]
    for key in cells[0]["engines"]:
        entries = [(kind, cell["engines"][key]) for kind, cell in columns]
        known = next((entry for _, entry in entries if "error" not in entry), None)
        facts = [known["type"], f"{known['bits_per_weight']:.4g}"] if known else ["", ""]
        lines.append(row([key, *facts, *(speed(entry, kind) for kind, entry in entries)]))
    probes = (
        f"{cell['threads']} thread{'s' if cell['threads'] > 1 else ''} {gigabytes(cell['probe']['before'])} before, "
        f"{gigabytes(cell['probe']['after'])} after"
        for cell in cells
    )
    lines += ["", f"Read bandwidth, GB/s: {'; '.join(probes)}. tritforge's instruction set: {cells[0]['isa']}."]
    errors = {key: cell["engines"][key]["error"] for cell in cells for key in cell["engines"] if "error" in cell["engines"][key]}
    lines += [f"{key}: {error}." for key, error in errors.items()]
    return "\n".join(lines)


def row(fields):
    """A line of a table."""
    return f"| {' | '.join(fields)} |"


def speed(entry, kind):
    """Median, worst and best."""
    if "error" in entry:
        return "-"
    rate = entry[kind]
    return f"{rate['median']:.1f} ({rate['min']:.1f} to {rate['max']:.1f})"


def gigabytes(rate):
    """Bytes a second in units of 10^9."""
    return f"{rate / 1e9:.1f}"

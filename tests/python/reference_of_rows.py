"""The reference LSTM for all rows at once: as independent of the package, and much faster.

`test_draws` compares it with the loops over rows and steps in ``reference.py``, which is what to
read first.
"""

import numpy as np

from reference import activate, bounded


def normed(a, epsilon):
    """Subtract each row's mean, and divide by its standard deviation."""
    centred = a - a.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)


def zoned_out(fresh, before, kept, rate):
    if not rate:
        return fresh
    return rate * before + (1 - rate) * fresh if kept is None else np.where(kept, before, fresh)


def step(config, cell, x, h, c, masks):
    """Compute one step of all rows: x (N, C), h (N, S), c (N, H)."""
    seen = h * masks["recurrent_dropout"] if "recurrent_dropout" in masks else h
    from_x, from_h = x @ cell["weight_ih"].T, seen @ cell["weight_hh"].T
    if config.layer_norm:  # over the gates in use
        first = c.shape[1] if config.coupled_gates else 0
        from_x[:, first:] = normed(from_x[:, first:], config.layer_norm_epsilon)
        from_h[:, first:] = normed(from_h[:, first:], config.layer_norm_epsilon)
        from_x, from_h = cell["gain_ih"] * from_x, cell["gain_hh"] * from_h
    sums = from_x + from_h + cell.get("bias", 0.0)
    a_i, a_f, a_g, a_o = np.split(sums, 4, axis=1)
    p_i, p_f, p_o = np.split(cell["peephole"], 3) if "peephole" in cell else (0.0, 0.0, 0.0)

    def gate(a):
        return activate(config.gate_activation, bounded(a, config.gate_clip))

    f = gate(a_f + p_f * c)
    i = 1 - f if config.coupled_gates else gate(a_i + p_i * c)
    g = activate(config.cell_activation, bounded(a_g, config.gate_clip))
    new_c = bounded(f * c + i * g, config.cell_clip)
    shown = new_c
    if config.layer_norm:
        shown = cell["gain_c"] * normed(new_c, config.layer_norm_epsilon) + cell.get("bias_c", 0.0)
    shown = bounded(shown, config.output_clip)
    new_h = gate(a_o + p_o * new_c) * activate(config.output_activation, shown)
    if config.proj_size:
        new_h = bounded(new_h @ cell["weight_hr"].T, config.proj_clip)
    return (
        zoned_out(new_h, h, masks.get("zoneout_h"), config.zoneout_h),
        zoned_out(new_c, c, masks.get("zoneout_c"), config.zoneout_c),
    )


def walk(config, cell, x, h, c, lengths, reset, backwards, masks):
    """Walk all rows through one layer and direction; return y (N, T, S) and the final h and c."""
    batch, steps, _ = x.shape
    y = np.zeros((batch, steps, h.shape[1]))
    row = np.arange(batch)
    for number in range(steps):
        active = number < lengths
        time = np.where(active, lengths - 1 - number if backwards else number, 0)
        starts = (reset[row, time] & active)[:, None]
        if not backwards:
            h, c = np.where(starts, 0.0, h), np.where(starts, 0.0, c)
        now = {name: mask[row, time] if mask.ndim == 3 else mask for name, mask in masks.items()}
        new_h, new_c = step(config, cell, np.nan_to_num(x[row, time]), h, c, now)
        h, c = np.where(active[:, None], new_h, h), np.where(active[:, None], new_c, c)
        y[row[active], time[active]] = h[active]
        if backwards:
            h, c = np.where(starts, 0.0, h), np.where(starts, 0.0, c)
    return y, h, c


def lstm(x, weights, config, h, c, lengths, reset, masks):
    """Compute ``functional.lstm`` in float64, with the masks of training; return y, h, c."""
    directions, width = config.num_directions, config.state_size
    h, c, masks = h.copy(), c.copy(), dict(masks)
    between, dropped = masks.pop("dropout", None), masks.pop("weight_dropout", None)
    inputs = x * masks.pop("input_dropout")[:, None] if "input_dropout" in masks else x
    for layer in range(config.num_layers):
        outputs = np.zeros((*x.shape[:2], directions * width))
        for direction in range(directions):
            entry = layer * directions + direction
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            cell = {
                name.removesuffix(suffix): array
                for name, array in weights.items()
                if name.endswith(suffix)
            }
            if dropped is not None:
                cell["weight_hh"] = cell["weight_hh"] * dropped[entry]
            own = {name: mask[entry] for name, mask in masks.items()}
            backwards = direction == 1 or config.go_backwards
            y, h[entry], c[entry] = walk(
                config, cell, inputs, h[entry], c[entry], lengths, reset, backwards, own
            )
            outputs[..., direction * width : (direction + 1) * width] = y
        inputs = outputs
        if between is not None and layer + 1 < config.num_layers:
            inputs = inputs * between[layer]
    return inputs, h, c

"""The formulas again, in 50 digits and with nothing shared with the code under test."""

from mpmath import mp, mpf

mp.dps = 50


def bonus(name, p, one_minus_p, log_end=1.0, start=None, exponent=2.0, eps=1e-5):
    """(b(p), b'(p)) by the specification's table; 50 digits of p may not hold ``one_minus_p``."""
    le, k, eps = mpf(log_end), mpf(exponent), mpf(eps)
    # log(max(1-p, eps)) and its slope
    bounded = (mp.log(max(one_minus_p, eps)), 0 if one_minus_p < eps else -1 / one_minus_p)
    if name == "none":
        return mpf(0), mpf(0)
    if name == "log":
        if le == 1 or one_minus_p >= 1 - le:
            return bounded
        return mp.log(1 - le) - (p - le) / (1 - le), -1 / (1 - le)
    if name == "cosine":
        return mp.cos(mp.pi * p) - 1, -mp.pi * mp.sin(mp.pi * p)
    s = mpf({"aggressive": 0.5, "power": 0}[name] if start is None else start)
    if p <= s:
        return mpf(0), mpf(0)
    if name == "aggressive":
        return bounded[0] - mp.log(1 - s), bounded[1]
    return s**k - p**k, -k * p ** (k - 1)


def row(logits, target, *, label_smoothing=0.0, smoothing="uniform", bonus_weight=1.0, **options):
    """Loss and gradient of one row of logits: sum q_i (-log p_i + w b(p_i)) and s_j - p_j S."""
    z = [mpf(x) for x in logits]
    n = len(z)
    exponentials = [mp.exp(x - max(z)) for x in z]
    total = mp.fsum(exponentials)
    one_minus_p = [mp.fsum(exponentials[:j] + exponentials[j + 1 :]) / total for j in range(n)]
    p = [e / total for e in exponentials]
    epsilon = mpf(label_smoothing)
    if smoothing == "uniform":
        q = [epsilon / n + (1 - epsilon if j == target else 0) for j in range(n)]
    else:
        q = [1 - epsilon if j == target else epsilon / (n - 1) for j in range(n)]
    name = options.pop("bonus", "log")
    bonuses = [bonus(name, *pair, **options) for pair in zip(p, one_minus_p)]
    w = mpf(bonus_weight)
    loss = mp.fsum(a * (-mp.log(x) + w * b) for a, x, (b, _) in zip(q, p, bonuses))
    s = [a * (-1 + w * x * slope) for a, x, (_, slope) in zip(q, p, bonuses)]
    slope_sum = mp.fsum(s)
    return float(loss), [float(a - x * slope_sum) for a, x in zip(s, p)]


def binary(logit, target, **options):
    """Loss of one logit: -log p_t + b(p_t)."""
    x = mpf(logit) if target else -mpf(logit)
    p, one_minus_p = 1 / (1 + mp.exp(-x)), 1 / (1 + mp.exp(x))
    return float(-mp.log(p) + bonus(options.pop("bonus", "log"), p, one_minus_p, **options)[0])


def halted_focal(logit, target, alpha, gamma, halt, phi):
    """Loss of one logit by section 4's table, its branches spelled out."""
    x, alpha, gamma, phi = mpf(logit), mpf(alpha), mpf(gamma), mpf(phi)
    p, one_minus_p = 1 / (1 + mp.exp(-x)), 1 / (1 + mp.exp(x))
    p_t, missing = (p, one_minus_p) if target else (one_minus_p, p)
    alpha_t = mpf(1) if alpha < 0 else (alpha if target else 1 - alpha)
    cross_entropy = -mp.log(p_t)
    focal = alpha_t * missing**gamma * cross_entropy
    b = ((1 - phi) ** gamma - 1) * mp.log(phi)
    if halt == "authors":
        if phi == 1 or p <= phi:
            return float(focal)
        at = phi if target else 1 - phi
        shift = -mp.log(at) - (1 - at) ** gamma * -mp.log(at)
        return float(alpha_t * (cross_entropy - shift))
    halted = p_t > phi and (halt == "both" or target)
    return float(-alpha_t * (mp.log(p_t) + b)) if halted else float(focal)

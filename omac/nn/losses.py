"""One pure function per equation. Losses return one number per seed, [K], or per seed and policy, [K,P]; nothing is ever
averaged over either.
"""

import math

from omac.shapes import Bool, Float, Tensor


def v_tot(
    w_v: Float[Tensor, "*rows n"], v: Float[Tensor, "*rows n"], v_share: Float[Tensor, "*rows"]
) -> Float[Tensor, "*rows"]:
    """Eq. (2), first line: V_tot(o) = sum_i w_v_i(o) V_i(o_i) + V_share(o).

    w_v, v [K,B,n]; v_share [K,B], in units of return. Returns [K,B].
    """
    return (w_v * v).sum(-1) + v_share


def q_tot(
    v_tot: Float[Tensor, "*rows"],
    w_q: Float[Tensor, "*rows n"],
    q: Float[Tensor, "*rows n"],
    v: Float[Tensor, "*rows n"],
) -> Float[Tensor, "*rows"]:
    """Eq. (2), second line: Q_tot(o,a) = V_tot(o) + sum_i w_q_i(o,a) (Q_i(o_i,a_i) - V_i(o_i)).

    v_tot [K,B]; w_q, q, v [K,B,n], in units of return. Returns [K,B].
    """
    return v_tot + (w_q * (q - v)).sum(-1)


def expectile_loss(
    u: Float[Tensor, "K B n"], tau: int | float, mask: Float[Tensor, "K B n"] | None = None
) -> Float[Tensor, " K"]:
    """Eq. (5): |tau - 1(u < 0)| u^2, averaged over batch and agents.

    u    [K,B,n]  Qbar_i(o_i,a_i) - V_i(o_i), in units of return
    tau  in (0, 1); 0.5 is the mean, towards 1 the in-sample maximum (Theorem 1)
    mask [K,B,n]  agents that count, default all
    Returns [K]. Raises ValueError if tau is outside (0, 1).
    """
    if not 0 < tau < 1:
        raise ValueError(f"tau is {tau}; an expectile lies strictly between 0 and 1 (Eq. 5; the paper takes 0.7)")
    return mean((tau - (u < 0).to(u.dtype)).abs() * u.square(), mask)


def td_target(
    r: Float[Tensor, "*rows"], done: Float[Tensor, "*rows"], v_tot_next: Float[Tensor, "*rows"], gamma: int | float
) -> Float[Tensor, "*rows"]:
    """Eq. (6), its target: r + gamma (1 - d) V_tot(o'). All [K,B]; done is 1 where nothing follows. Returns [K,B]."""
    return r + gamma * (1 - done) * v_tot_next


def td_loss(
    q_tot: Float[Tensor, "K B"], target: Float[Tensor, "K B"], mask: Float[Tensor, "K B"] | None = None
) -> Float[Tensor, " K"]:
    """Eq. (6): (target - Q_tot(o,a))^2, averaged over the batch. q_tot, target [K,B]; mask [K,B] rows that count. Returns [K]."""
    error = (target - q_tot).square()
    return error.mean(1) if mask is None else (error * mask).sum(1) / mask.sum(1).clamp(min=1)


def awr_weight(adv: Float[Tensor, "..."], beta, max_weight: int | float) -> Float[Tensor, "..."]:
    """Eq. (8), its weight: exp(beta A), at most max_weight. adv [...,B,n], in units of return. Returns [...,B,n]."""
    return (beta * adv).exp().clamp(max=max_weight)


def awr_loss(weight, log_pi: Float[Tensor, "... B n"], mask=None) -> Float[Tensor, "..."]:
    """Eq. (8), with the minus that the paper drops: -weight log pi_i(a_i|o_i), averaged over batch and agents.

    weight, log_pi [...,B,n], mask as in Eq. (5). Returns [...]. With weight 1 (beta = 0) it is behaviour cloning.
    """
    return -mean(weight * log_pi, mask)


def cql_penalty(
    q: Float[Tensor, "K B n A"], q_data: Float[Tensor, "K B n"], mask: Float[Tensor, "K B n"] | None = None
) -> Float[Tensor, " K"]:
    """CQL-MA, local: sum_i (logsumexp_a Q_i(o_i,a) - Q_i(o_i,a_i)), averaged over the batch.

    q [K,B,n,A] in units of return, -1e9 where an action is not to count; q_data [K,B,n] at the data's actions; mask
    [K,B,n] agents that count. Returns [K]. It is the negative log-likelihood of the data under softmax(Q_i).
    """
    gap = q.logsumexp(-1) - q_data
    return (gap if mask is None else gap * mask).sum(-1).mean(1)


def bcq_filter(
    log_g: Float[Tensor, "*rows A"], avail: Bool[Tensor, "*rows A"], threshold: int | float
) -> Bool[Tensor, "*rows A"]:
    """BCQ-MA: {a in A(o_i): G(a|o_i) / max_A G > threshold}, never empty. log_g [K,B,n,A] up to a constant of each agent,
    avail bool [K,B,n,A], threshold in [0, 1): 0 leaves all available actions, towards 1 only argmax G. Returns bool [K,B,n,A].
    """
    log_g = log_g.masked_fill(~avail, -math.inf)
    return avail & (log_g - log_g.max(-1, keepdim=True).values > (math.log(threshold) if threshold else -math.inf))


def bcq_imitation(
    logits: Float[Tensor, "*rows B n A"], log_g: Float[Tensor, "*rows B n"], penalty: int | float, mask=None
) -> Float[Tensor, "*rows"]:
    """BCQ-MA, its behaviour model G: -log G(a_i|o_i) + penalty * mean_a logit^2, averaged over batch and agents.

    logits [K,B,n,A], log_g [K,B,n] of the data's actions, mask [K,B,n] agents that count. Returns [K].
    """
    return mean(penalty * logits.square().mean(-1) - log_g, mask)


def icq_weight(x: Float[Tensor, "..."], temperature, mask=None) -> Float[Tensor, "..."]:
    """ICQ: B softmax_batch(x / temperature), so that the weights of a batch average 1.

    x [K,B] or [...,B,n], in units of return; temperature a number or [P,1,1] for x [K,P,B,n]; mask [K,B] or [...,B,n]: what
    counts; the rest weighs 0 and B counts without it. Returns weights of the shape of x, by seed, policy and agent.
    """
    batch = -1 if x.dim() == 2 else -2
    if mask is None:
        return (x / temperature).softmax(batch) * x.shape[batch]
    return (x / temperature).masked_fill(mask == 0, -1e9).softmax(batch) * mask.sum(batch, keepdim=True) * mask


def omar_loss(
    q: Float[Tensor, "... B n A"],
    pi: Float[Tensor, "*rows B n A"],
    log_best: Float[Tensor, "*rows B n"],
    weight: int | float,
    mask=None,
) -> Float[Tensor, "*rows"]:
    """OMAR: -(1 - c) sum_a pi_i(a) Q_i(a) - c log pi_i(a*), averaged over batch and agents.

    q, pi [...,B,n,A]: Q_i in units of return, without gradient; log_best [...,B,n]: log pi_i of the action a* that the search
    found; weight c in [0, 1]; mask [...,B,n] agents that count. Returns [...].
    """
    return -mean((1 - weight) * (pi * q).sum(-1) + weight * log_best, mask)


def mean(x: Float[Tensor, "*rows B n"], mask=None) -> Float[Tensor, "*rows"]:
    """Mean of x [...,B,n] over batch and agents, [...]; with mask [...,B,n] over those where it is 1."""
    if mask is None:
        return x.mean((-2, -1))
    return (x * mask).sum((-2, -1)) / mask.sum((-2, -1)).clamp(min=1)

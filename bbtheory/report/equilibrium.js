"use strict";

// The equilibrium of one traffic budget, as bbtheory.theory.equilibrium states it and as the tests hold this
// file against it: max sum count_i h(a_i) subject to sum count_i k_i a_i <= T, so that with x_i = beta k_i
//
//   a_i = 1 / (1 + e^x_i),   beta >= 0,   beta (T - sum count_i k_i a_i) = 0.
//
// All formulas of the page live here; nothing here knows of a page.
const equilibrium = (() => {
  // on the balance line a unit's traffic is a L(a)/beta, at most W(1/e)/beta, at on-rate W/(1 + W)
  const MAX_BALANCED_TRAFFIC = 0.278464542761073795;
  const ON_RATE_OF_MAX_TRAFFIC = MAX_BALANCED_TRAFFIC / (1 + MAX_BALANCED_TRAFFIC);
  const FAN_OUT_OF_MAX_TRAFFIC = 1 + MAX_BALANCED_TRAFFIC; // times 1/beta: L(W/(1+W)) = -ln W = 1 + W

  // the relative budget residual that rounding a sum leaves, and what rounding beta adds to it
  const SUM_TOLERANCE = 2e-14;
  const BETA_TOLERANCE = 2 * Number.EPSILON;
  const MAX_ITERATIONS = 400;
  const PATIENCE = 20; // Newton steps before every second one halves the bracket in the logarithm

  /** A sum that keeps what rounding loses (Neumaier). */
  class Sum {
    total = 0;
    lost = 0;
    add(value) {
      const next = this.total + value;
      this.lost += Math.abs(this.total) >= Math.abs(value) ? this.total - next + value : value - next + this.total;
      this.total = next;
    }
    get value() {
      return this.total + this.lost;
    }
  }

  function sum(values) {
    const all = new Sum();
    for (const value of values) all.add(value);
    return all.value;
  }

  /** On-rate of given inactivity log-odds x, nats: 1 / (1 + e^x), without overflow. */
  function onRate(logOdds) {
    const e = Math.exp(-Math.abs(logOdds));
    return (logOdds >= 0 ? e : 1) / (1 + e);
  }

  /** Entropy in nats of a unit of log-odds x >= 0: h(a) = a x + ln(1 + e^-x), without cancellation. */
  function entropy(logOdds) {
    const e = Math.exp(-logOdds);
    return e === 0 ? 0 : (e / (1 + e)) * logOdds + Math.log1p(e);
  }

  /** Fan-outs first, first + step, ... up to last, with round((last/k)^tail) units of each. */
  function population(first, last, step, tail = 0) {
    const fanOut = [];
    const count = [];
    for (let k = first; k <= last; k += step) {
      fanOut.push(k);
      count.push(Math.max(1, Math.round((last / Math.max(k, 1)) ** tail)));
    }
    return { fanOut, count };
  }

  /** What a population comes to at a multiplier: traffic, the size of its slope in beta, coding entropy. */
  function totals({ fanOut, count }, beta) {
    const [spent, slope, coded] = [new Sum(), new Sum(), new Sum()];
    for (let i = 0; i < fanOut.length; i += 1) {
      const x = beta * fanOut[i];
      const a = onRate(x);
      const weight = count[i] * fanOut[i];
      spent.add(weight * a);
      slope.add(weight * (fanOut[i] * a * (1 - a)));
      coded.add(count[i] * entropy(x));
    }
    return { traffic: spent.value, slope: slope.value, coding_entropy: coded.value };
  }

  /** Traffic where it costs nothing: all on-rates 1/2. */
  function unpricedTraffic(units) {
    return totals(units, 0).traffic;
  }

  /** The multiplier at which a population spends exactly its budget: Newton on ln S(beta) in a bracket. */
  function multiplier(units, budget) {
    const n = sum(units.count);
    let low = 0;
    let high = (n * MAX_BALANCED_TRAFFIC) / budget; // no unit can carry more than W(1/e)/beta
    const start = totals(units, 0);
    // the start of an exponential fall through S(0) with slope S'(0)
    let beta = Math.min(high, (start.traffic / start.slope) * Math.log(start.traffic / budget));
    for (let used = 1; used <= MAX_ITERATIONS; used += 1) {
      const { traffic: spent, slope } = totals(units, beta);
      const excess = spent - budget;
      if (Math.abs(excess) <= budget * SUM_TOLERANCE + beta * slope * BETA_TOLERANCE) {
        return { beta, converged: true };
      }
      if (excess > 0) low = beta;
      else high = beta;
      let next = beta + (Math.log(spent / budget) * spent) / slope;
      const creeps = used >= PATIENCE && used % 2 === 1;
      if (!(next > low && next < high) || creeps) {
        next = low > 0 ? Math.sqrt(low) * Math.sqrt(high) : 1e-3 * high;
      }
      if (next === beta) return { beta, converged: true }; // the bracket holds no other number
      beta = next;
    }
    return { beta, converged: false };
  }

  /** The equilibrium of a population given either its multiplier or its budget. */
  function solve(units, { beta = null, budget = null }) {
    let status = "converged";
    if (budget !== null) {
      if (unpricedTraffic(units) <= budget) {
        beta = 0;
        status = "budget_not_binding";
      } else {
        const found = multiplier(units, budget);
        beta = found.beta;
        if (!found.converged) status = "not_converged";
      }
    }
    const { fanOut, count } = units;
    const logOdds = fanOut.map((k) => beta * k);
    const rates = logOdds.map(onRate);
    const total = totals(units, beta);
    const counted = (holds) => sum(count.filter((_, i) => holds(i)));
    return {
      beta,
      budget: budget === null ? total.traffic : budget,
      status,
      traffic: total.traffic,
      coding_entropy: total.coding_entropy,
      n_units: sum(count),
      n_silent: counted((i) => fanOut[i] === 0),
      n_underflow: counted((i) => rates[i] === 0),
      price_of_traffic: beta,
      dtraffic_dbeta: -total.slope,
      units: {
        fan_out: fanOut,
        count,
        on_rate: rates,
        traffic: rates.map((a, i) => fanOut[i] * a),
        inactivity_log_odds: logOdds,
        entropy: logOdds.map(entropy),
      },
    };
  }

  return {
    MAX_BALANCED_TRAFFIC,
    ON_RATE_OF_MAX_TRAFFIC,
    FAN_OUT_OF_MAX_TRAFFIC,
    entropy,
    multiplier,
    onRate,
    population,
    solve,
    sum,
    totals,
    unpricedTraffic,
  };
})();

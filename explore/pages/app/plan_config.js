// The whole configuration behind the planning page: what is moved, and the rest from a training run.
(function () {
  "use strict";
  const M = NCPL.model;

  /** Return a configuration that leaves nothing to be drawn, by the flat names of the schema. */
  M.configOf = function (fit, optimizer, moved) {
    const base = fit.bases[optimizer], shares = base.shares, constants = fit.constants;
    const { N, D, rate, batch } = moved;
    const config = {
      source: fit.family[0], params_non_embedding: N, train_tokens: D, learning_rate: rate,
      batch_size_sequences: batch, ...base.config,
    };
    if (optimizer) config.optimizer = optimizer;
    const steps = D / (batch * config.sequence_length);
    const share = (frac) => Math.round(frac * steps);
    if (constants.warmup_steps !== undefined) config.warmup_steps = constants.warmup_steps;
    else if (shares.warmup_frac !== null) config.warmup_steps = share(shares.warmup_frac);
    if (shares.decay_frac !== null) config.decay_steps = share(shares.decay_frac);
    if (constants.min_learning_rate !== undefined) {
      config.min_learning_rate = Math.min(constants.min_learning_rate, rate);
    } else if (shares.final_rate_frac !== null) {
      config.min_learning_rate = Number((shares.final_rate_frac * rate).toPrecision(6));
    }
    const shape = fit.shapes.reduce((best, one) => {
      const gap = Math.abs(Math.log(one.params_non_embedding / N));
      return !best || gap < best.gap ? { ...one, gap } : best;
    }, null);
    if (shape) {
      config.d_model = shape.d_model;
      config.d_ff = shape.d_ff;
    }
    return config;
  };

  /** Return why a configuration can not be a run; null where it can. */
  M.contradiction = function (fit, row) {
    if (row.batch_tokens > row.data_tokens) {
      return `One step is ${NCPL.count(row.batch_tokens)} tokens, the whole run ` +
        `${NCPL.count(row.data_tokens)}: take a smaller batch.`;
    }
    return null;
  };
})();

// Configurations as arrays, as ncpl/data/fields.py and ncpl/model/{encoder,seen}.py make them.
(function () {
  "use strict";
  const LAW = ["params_non_embedding", "data_tokens", "learning_rate", "batch_tokens", "ffn_ratio"];
  const TOLD_BY_OTHERS = new Set(["train_tokens", "nominal_train_tokens", "train_steps",
    "warmup_frac", "ffn_ratio", "decay_frac", "timescale_frac"]);
  const SHAPE = new Set(["n_layers", "d_model", "d_ff", "n_heads"]);
  const COUNTED_ONCE = new Set([...SHAPE, "batch_size_sequences"]);
  const UNSEEN_NAME = 3, RISING = 3, AT_ZERO = 1, MOST_ODD = 4, TOLERANCE = 1e-6;

  const has = (row, name) => row[name] !== undefined && row[name] !== null;

  /** Return a configuration with what follows from it: size, data, batch, shares of the run. */
  function derive(config, extraNames) {
    const full = Object.assign({}, config);
    if (!has(full, "params_non_embedding") && full.n_layers && full.d_model && full.d_ff) {
      full.params_non_embedding =
        full.n_layers * (4 * full.d_model ** 2 + 3 * full.d_model * full.d_ff);
    }
    const batch = full.batch_size_sequences, length = full.sequence_length;
    let steps = full.train_steps;
    if (batch && length) full.batch_tokens = batch * length;
    let tokens = full.nominal_train_tokens || full.train_tokens;
    if (!tokens && steps && full.batch_tokens) tokens = steps * full.batch_tokens;
    full.data_tokens = tokens;
    if (tokens && steps && !full.batch_tokens) full.batch_tokens = tokens / steps;
    if (!has(full, "train_steps") && tokens && full.batch_tokens) {
      steps = full.train_steps = tokens / full.batch_tokens;
    }
    if (full.d_ff && full.d_model) full.ffn_ratio = full.d_ff / full.d_model;
    if (steps && has(full, "warmup_steps")) full.warmup_frac = full.warmup_steps / steps;
    if (steps && has(full, "decay_steps")) full.decay_frac = full.decay_steps / steps;
    else if (full.schedule === "cosine" || full.schedule === "linear") {
      full.decay_frac = 1 - Math.min(full.warmup_frac || 0, 1);
    }
    const pull = (full.learning_rate || 0) * (full.weight_decay || 0) * (tokens || 0);
    if (pull && full.batch_tokens) full.timescale_frac = full.batch_tokens / pull;
    for (const [name, value] of Object.entries(extraOf(config))) {
      if (extraNames[name] && Number.isFinite(value)) full[extraNames[name]] = value;
    }
    return full;
  }

  function extraOf(config) {
    const extra = config.optimizer_extra;
    if (!extra) return {};
    return typeof extra === "string" ? JSON.parse(extra) : extra;
  }

  function scaled(field, value) {
    if (!Number.isFinite(value)) return NaN;
    if (field.transform === "linear") return (value - field.centre) / field.scale;
    return (Math.log(Math.max(value, 1e-12)) - Math.log(field.centre)) / field.scale;
  }

  /** Return { numbers, codes, law } of a derived configuration, in single precision. */
  function encode(fit, row) {
    const fields = fit.fields, count = fields.length, optimizer = row.optimizer || "";
    const numbers = new Float64Array(count), codes = new Int32Array(count);
    for (let j = 0; j < count; j++) {
      const name = fields[j], field = fit.table[name];
      if (field.kind === "category") {
        codes[j] = fit.vocabulary.get(name + "\u0000" + row[name]) || 0;
        continue;
      }
      let value = scaled(field, has(row, name) ? row[name] : NaN);
      const centre = fit.encoder.centres[name];
      if (centre) value -= centre[optimizer] !== undefined ? centre[optimizer] : centre[""];
      codes[j] = Number.isFinite(value) ? 1 : 0;
      numbers[j] = Number.isFinite(value) ? Math.fround(value) : 0;
    }
    const law = LAW.map((name) => scaled(fit.table[name], has(row, name) ? row[name] : NaN));
    law[2] -= fit.encoder.lr_shift[optimizer] || 0;
    const place = fit.optimizers.indexOf(optimizer);
    law.push(place < 0 ? NaN : place);
    for (let i = 0; i < 6; i++) law[i] = Math.fround(law[i]);
    for (let i = 0; i < 2; i++) if (Number.isNaN(law[i])) law[i] = 0;
    return { numbers, codes, law };
  }

  function beyond(fit, name, row) {
    const ends = fit.encoder.ranges[name];
    if (!ends || !has(row, name)) return 0;
    const at = Math.log(Math.max(row[name], 1e-300));
    const far = (name === "learning_rate" ? RISING : 1) * Math.max(at - Math.log(ends[1]), 0) +
      Math.max(Math.log(ends[0]) - at, 0);
    return far < TOLERANCE ? 0 : far;
  }

  function odd(fit, name, row) {
    const [low, high] = fit.encoder.ranges[name], value = row[name];
    const slack = TOLERANCE * Math.abs(value);
    if (!(value < low - slack || value > high + slack)) return 0;
    if (COUNTED_ONCE.has(name)) return 0.5;
    const field = fit.table[name];
    let away = Math.max(scaled(field, value) - scaled(field, high),
      scaled(field, low) - scaled(field, value));
    if (field.transform === "log" && (value === 0 || high === 0)) away = AT_ZERO;
    return 0.5 + Math.min(away, MOST_ODD);
  }

  /** Return how far a derived configuration lies outside what training has seen; 0 inside. */
  function distance(fit, row) {
    let far = 0, other = 0;
    const sized = beyond(fit, "params_non_embedding", row) > 0;
    for (const name of Object.keys(fit.encoder.ranges)) {
      if (!has(row, name) || TOLD_BY_OTHERS.has(name)) continue;
      if (LAW.includes(name)) far += beyond(fit, name, row);
      else if (!(SHAPE.has(name) && sized)) other = Math.max(other, odd(fit, name, row));
    }
    for (const [name, values] of Object.entries(fit.encoder.categories)) {
      if (has(row, name) && !values.includes(row[name])) far += UNSEEN_NAME;
    }
    return far + other;
  }

  /** Return the logs by which tokens per parameter lie beyond all training runs'. */
  function apart(fit, row) {
    const [low, high] = fit.encoder.density;
    const at = Math.log(row.data_tokens / row.params_non_embedding);
    let far = low > 0 ? Math.max(Math.log(low) - at, 0) : 0;
    if (high < 1e300) far += Math.max(at - Math.log(high), 0);
    return far < TOLERANCE ? 0 : far;
  }

  /** Return one sentence for each value outside what training has seen. */
  function outside(fit, row) {
    const found = [], short = NCPL.short;
    for (const [name, [low, high]] of Object.entries(fit.encoder.ranges)) {
      if (TOLD_BY_OTHERS.has(name) || !has(row, name)) continue;
      const value = row[name];
      if (low * (1 - TOLERANCE) <= value && value <= high * (1 + TOLERANCE)) continue;
      const seen = low === high ? "always " + short(low) : short(low) + " to " + short(high);
      found.push(`${name} is ${short(value)}, in training it was ${seen}`);
    }
    if (apart(fit, row) > 0) {
      const [low, high] = fit.encoder.density;
      const share = row.data_tokens / row.params_non_embedding;
      found.push(`tokens per parameter are ${short(share)}, in training ${short(low)} to ` +
        short(high));
    }
    return found;
  }

  NCPL.model = { LAW, derive, scaled, encode, distance, apart, outside, extraOf };
})();

/**
 * Runs a packed model in a browser: reads the file that `mml.packing.save_packed` writes, and computes what the
 * model predicts. Products with ternary weights are sums and differences of 8-bit integers; no library is needed.
 *
 *     import { loadModel } from "./mml.js";
 *     const model = await loadModel(await (await fetch("model.safetensors")).arrayBuffer());
 *     const probabilities = model.predict(pixels); // of 32 x 32 x 3 numbers, 0 to 255
 *
 * It knows the layers of `mml.models.vision_transformer` with any sizes, and says so at any other layer. The layout of
 * the file is described at the head of `src/mml/packing.py`, what each layer computes in `src/mml/layers`.
 */

const FORMAT = "mml packed model";
const VERSION = "1";
const SMALLEST = 1e-5; // the largest magnitude of a vector that is rounded is at least this ...
const LARGEST = 1e9; // ... and at most this
const SMALLEST_SQUARE = 1e-14; // of a vector's length, so that zeros divide safely

/**
 * Read and check a packed model.
 *
 * @param {ArrayBuffer} buffer What `save_packed` wrote.
 * @returns {Promise<{classNames: string[] | null, inputShape: number[], logits: Function, predict: Function}>}
 *     `inputShape` is height, width and channels. `predict(pixels)` takes a Float32Array or Uint8Array of so many
 *     numbers, 0 to 255, in rows, a pixel's channels together, and returns a Float32Array of one probability for
 *     each class; `logits(pixels)` returns what the softmax is taken of.
 * @throws {Error} If it is no packed model, of another version, damaged, or holds a layer that is not known here.
 */
export async function loadModel(buffer) {
  const { metadata, tensors } = await readFile(buffer);
  const file = { tensors, ternary: JSON.parse(metadata.ternary) };
  const config = JSON.parse(metadata.config);
  if (config.class_name !== "Sequential") {
    throw new Error(`The model must be a Sequential one. Received: ${config.class_name}`);
  }
  const layers = buildLayers(file, config, "");
  const inputShape = layers.inputShape;
  const size = inputShape.reduce((product, length) => product * length, 1);

  function logits(pixels) {
    if (pixels.length !== size) {
      throw new Error(`The picture must have ${inputShape.join(" x ")} numbers. Received: ${pixels.length}`);
    }
    let x = { values: Float32Array.from(pixels), shape: inputShape };
    for (const layer of layers) x = layer(x);
    return x.values;
  }
  logits(new Float32Array(size)); // builds the layers: what does not fit is known now

  return {
    classNames: JSON.parse(metadata.class_names),
    inputShape,
    logits,
    predict: (pixels) => softmax(logits(pixels)),
  };
}

// === The file ===

async function readFile(buffer) {
  const bytes = new Uint8Array(buffer);
  let metadata, header, start;
  try {
    start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, start)));
    metadata = header.__metadata__;
    if (typeof metadata.sha256 !== "string") throw new Error("no checksum");
  } catch (error) {
    throw new Error("This is no packed model, or its header is damaged.", { cause: error });
  }
  if (metadata.format !== FORMAT || metadata.version !== VERSION) {
    throw new Error(
      `The file must be a '${FORMAT}' of version '${VERSION}'. Received: '${metadata.format}', '${metadata.version}'`
    );
  }
  if ((await digest(bytes, start, metadata.sha256)) !== metadata.sha256) {
    throw new Error("The file is damaged: its contents do not fit its checksum.");
  }
  const tensors = new Map();
  for (const [name, { dtype, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    tensors.set(name, { dtype, bytes: bytes.slice(start + offsets[0], start + offsets[1]) });
  }
  return { metadata, tensors };
}

/** SHA-256 of the whole file, with zeros in the place of its own 64 digits. */
async function digest(bytes, start, written) {
  const field = `"sha256":"${written}"`;
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, start)); // a character for each byte
  const place = text.indexOf(field);
  const copy = bytes.slice();
  if (place >= 0) copy.fill("0".charCodeAt(0), place + field.length - 1 - written.length, place + field.length - 1);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", copy));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The floats of one array, of the sizes that the layer expects. */
function floats(file, name, ...sizes) {
  const tensor = file.tensors.get(name);
  if (!tensor) throw new Error(`The file has no array ${name}.`);
  let values;
  if (tensor.dtype === "F32") values = new Float32Array(tensor.bytes.buffer);
  else if (tensor.dtype === "F16") values = Float32Array.from(new Uint16Array(tensor.bytes.buffer), fromHalf);
  else throw new Error(`${name} must hold floats. Received: ${tensor.dtype}`);
  if (!sizes.includes(values.length)) {
    throw new Error(`${name} must have ${sizes.join(" or ")} values. Received: ${values.length}`);
  }
  return values;
}

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/**
 * A ternary kernel, as the places of its weights: for each output, the inputs whose weight is 1, then those whose
 * weight is -1. A weight of 0 takes no place and no time. Five weights are in a byte, `sum((w + 1) * 3**i)`.
 */
function ternaryKernel(file, name, features) {
  const tensor = file.tensors.get(name);
  const [units, written, scale] = file.ternary[name] ?? [];
  const length = Math.ceil((units * features) / 5);
  if (!tensor || tensor.dtype !== "U8" || written !== features || tensor.bytes.length !== length) {
    throw new Error(`${name} must be a ternary kernel of ${features} inputs.`);
  }
  const weights = new Int8Array(5 * tensor.bytes.length);
  tensor.bytes.forEach((byte, index) => {
    if (byte >= 243) throw new Error(`${name} must hold bytes below 243. Received: ${byte}`);
    for (let i = 5 * index; i < 5 * index + 5; i++) {
      weights[i] = (byte % 3) - 1;
      byte = Math.floor(byte / 3);
    }
  });
  if (weights.subarray(units * features).some((weight) => weight !== 0)) {
    throw new Error(`${name} must be filled up with zeros.`);
  }
  const places = new Uint32Array(weights.reduce((count, weight) => count + Math.abs(weight), 0));
  const ends = new Uint32Array(2 * units); // of the inputs to add, and of those to subtract
  let place = 0;
  for (let unit = 0; unit < units; unit++) {
    const row = weights.subarray(unit * features, (unit + 1) * features);
    for (const sign of [1, -1]) {
      for (let feature = 0; feature < features; feature++) if (row[feature] === sign) places[place++] = feature;
      ends[2 * unit + (sign === 1 ? 0 : 1)] = place;
    }
  }
  return { units, features, scale: Math.fround(scale), places, ends };
}

// === Layers ===
// Each is a function from `{values, shape}` to the like, for one picture, without the axis of the batch. As in Keras,
// what is kept between two operations is rounded to float32.

function buildLayers(file, config, prefix) {
  const layers = [];
  let shape;
  for (const { class_name: kind, config: options } of config.config.layers) {
    if (kind === "InputLayer") {
      shape ??= options.batch_shape.slice(1);
      continue;
    }
    if (kind === "Sequential") {
      layers.push(...buildLayers(file, { config: options }, `${prefix}${options.name}.`));
      shape ??= layers.inputShape;
    } else {
      const build = LAYERS[kind];
      if (!build) throw new Error(`The layer ${options.name} is a ${kind}, which is not known here.`);
      if ((options.activation ?? "linear") !== "linear") {
        throw new Error(`The layer ${options.name} has the activation ${options.activation}, which is not known here.`);
      }
      layers.push(build(file, `${prefix}${options.name}`, options));
    }
  }
  layers.inputShape = shape;
  return layers;
}

const nothing = () => (x) => x; // what only training needs

const LAYERS = {
  Normalization(file, name) {
    return lazily(({ shape }) => {
      const channels = shape.at(-1);
      const mean = floats(file, `${name}.0/0`, channels);
      const deviation = floats(file, `${name}.0/1`, channels).map((v) => Math.max(Math.sqrt(v), 1e-7));
      return (x) => map(x, (value, i) => Math.fround(value - mean[i % channels]) / deviation[i % channels]);
    });
  },
  Resizing(file, name, options) {
    const { interpolation, antialias, crop_to_aspect_ratio: crop, pad_to_aspect_ratio: pad } = options;
    if (interpolation !== "bilinear" || antialias || crop || pad) {
      throw new Error(`The layer ${name} must be bilinear, and neither crop, pad nor smooth.`);
    }
    return (x) => resizeBilinear(x, options.height, options.width);
  },
  RandomFlip: nothing,
  RandomRotation: nothing,
  RandomZoom: nothing,
  Dropout: nothing,
  Patches: (file, name, { patch_size: size }) => (x) => patches(x, size),
  PatchEmbedding(file, name, options) {
    if (!options.use_mml) throw new Error(`The layer ${name} must have a ternary projection.`);
    return lazily(({ shape: [count, features] }) => {
      const project = denseMML(file, `${name}.1`, `${name}.2`, features, count);
      if (!options.with_positions) return project;
      const positions = floats(file, `${name}.3/0`, count * options.embedding_dim);
      return (x) => map(project(x), (value, i) => value + positions[i]);
    });
  },
  TransformerBlockMML(file, name, options) {
    if (!options.fully_mml) throw new Error(`The layer ${name} must be ternary throughout.`);
    return lazily(({ shape: [tokens, width] }) => {
      // Numbered in the order in which Keras finds the layers within a layer.
      const output = denseMML(file, `${name}.3`, `${name}.4`, width, tokens);
      const gates = denseMML(file, `${name}.5`, `${name}.6`, width, tokens);
      const attentionNorm = rmsNorm(file, `${name}.8`, width, tokens);
      const down = denseMML(file, `${name}.10`, `${name}.11`, options.ffn_dim, tokens);
      const gateAndUp = denseMML(file, `${name}.12`, `${name}.13`, width, tokens);
      const ffnNorm = rmsNorm(file, `${name}.15`, width, tokens);
      return (x) => {
        x = attentionNorm(add(x, output(recurrence(gates(x)))));
        return ffnNorm(add(x, down(gatedUnit(gateAndUp(x)))));
      };
    });
  },
  LayerNormalization(file, name, options) {
    return lazily(({ shape }) => {
      const gamma = floats(file, `${name}.0/0`, shape.at(-1));
      const beta = floats(file, `${name}.0/1`, shape.at(-1));
      return (x) => layerNorm(x, gamma, beta, options.epsilon);
    });
  },
  Flatten: () => (x) => ({ values: x.values, shape: [x.values.length] }),
  DenseMML(file, name, options) {
    return lazily(({ shape: [features] }) => denseMML(file, `${name}.0`, `${name}.1`, features, 1, options.use_bias));
  },
  Dense(file, name, { units }) {
    return lazily(({ shape: [features] }) => {
      const kernel = floats(file, `${name}.0/0`, features * units); // [features, units]
      const bias = floats(file, `${name}.0/1`, units);
      return ({ values }) => {
        const y = Float64Array.from(bias);
        values.forEach((value, i) => y.forEach((_, unit) => (y[unit] += value * kernel[i * units + unit])));
        return { values: Float32Array.from(y), shape: [units] };
      };
    });
  },
};

/** A layer that is built when it first sees a shape. */
function lazily(build) {
  let layer;
  return (x) => (layer ??= build(x))(x);
}

const map = ({ values, shape }, f) => ({ values: values.map(f), shape });
const add = (a, b) => map(a, (value, i) => value + b.values[i]);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const silu = (x) => x * sigmoid(x);

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const exponentials = logits.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

/** Enlarge or reduce: each pixel is a mean of the four about its place, without a filter. */
function resizeBilinear({ values, shape: [height, width, channels] }, newHeight, newWidth) {
  const between = (index, size, newSize) => {
    const place = Math.min(Math.max(((index + 0.5) * size) / newSize - 0.5, 0), size - 1);
    const below = Math.floor(place);
    return [below, Math.min(below + 1, size - 1), place - below];
  };
  const result = new Float32Array(newHeight * newWidth * channels);
  for (let y = 0; y < newHeight; y++) {
    const [top, bottom, down] = between(y, height, newHeight);
    for (let x = 0; x < newWidth; x++) {
      const [left, right, across] = between(x, width, newWidth);
      for (let c = 0; c < channels; c++) {
        const at = (row, column) => values[(row * width + column) * channels + c];
        const above = at(top, left) * (1 - across) + at(top, right) * across;
        const below = at(bottom, left) * (1 - across) + at(bottom, right) * across;
        result[(y * newWidth + x) * channels + c] = above * (1 - down) + below * down;
      }
    }
  }
  return { values: result, shape: [newHeight, newWidth, channels] };
}

/** Cut into squares, row by row, each of them flattened. */
function patches({ values, shape: [height, width, channels] }, size) {
  const line = size * channels;
  const result = new Float32Array(values.length);
  let place = 0;
  for (let top = 0; top < height; top += size) {
    for (let left = 0; left < width; left += size) {
      for (let y = top; y < top + size; y++, place += line) {
        const start = (y * width + left) * channels;
        result.set(values.subarray(start, start + line), place);
      }
    }
  }
  return { values: result, shape: [(height / size) * (width / size), size * line] };
}

/** What RMSNorm without a gain does to one vector, `x / |x| * sqrt(features)`; `write` gets each value. */
function normalize(x, write) {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const inverse = Math.fround(Math.sqrt(x.length / Math.max(squares, SMALLEST_SQUARE)));
  for (let i = 0; i < x.length; i++) write(i, Math.fround(x[i] * inverse));
}

function rmsNorm(file, name, features, tokens) {
  const gain = floats(file, `${name}/0`, features, tokens * features); // a gain a feature, or one a position too
  return ({ values, shape }) => {
    const result = new Float32Array(values.length);
    for (let start = 0; start < values.length; start += features) {
      normalize(values.subarray(start, start + features), (i, value) => {
        result[start + i] = value * gain[(start + i) % gain.length];
      });
    }
    return { values: result, shape };
  };
}

/**
 * Ternary dense layer: each vector is normalised and rounded to 8-bit integers, the integers are added and subtracted
 * as the weights say, and only the sums are scaled.
 */
function denseMML(file, name, normName, features, tokens, useBias = true) {
  const { units, scale, places, ends } = ternaryKernel(file, `${name}/kernel`, features);
  const norm = rmsNorm(file, normName, features, tokens);
  const bias = useBias ? floats(file, `${name}/bias`, units) : new Float32Array(units);
  const quantized = new Int8Array(features);
  return (x) => {
    const rows = x.values.length / features;
    const normalized = norm(x).values;
    const result = new Float32Array(rows * units);
    for (let row = 0; row < rows; row++) {
      const step = absmaxQuantize(normalized.subarray(row * features, (row + 1) * features), quantized);
      const both = Math.fround(step * scale);
      let place = 0;
      for (let unit = 0; unit < units; unit++) {
        let sum = 0;
        for (const end = ends[2 * unit]; place < end; place++) sum = (sum + quantized[places[place]]) | 0;
        for (const end = ends[2 * unit + 1]; place < end; place++) sum = (sum - quantized[places[place]]) | 0;
        result[row * units + unit] = Math.fround(sum * both) + bias[unit];
      }
    }
    return { values: result, shape: [...x.shape.slice(0, -1), units] };
  };
}

/** Round to integers from -128 to 127, at the scale of the largest magnitude, which is returned as the step. */
function absmaxQuantize(x, quantized) {
  let largest = SMALLEST;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]));
  largest = Math.min(largest, LARGEST);
  const factor = Math.fround(127 / largest);
  for (let i = 0; i < x.length; i++) {
    quantized[i] = Math.max(-128, Math.min(127, roundHalfToEven(Math.fround(x[i] * factor))));
  }
  return Math.fround(largest / 127);
}

/** As Keras rounds; `Math.round` would round 0.5 up. The sum has no digits left behind the point. */
function roundHalfToEven(x) {
  return x + 2 ** 52 * 1.5 - 2 ** 52 * 1.5;
}

/** The state that goes from token to token, `h = f * h + (1 - f) * c`, seen through the output gate. */
function recurrence({ values, shape: [tokens, width] }) {
  const units = width / 3; // forget gate, candidate, output gate
  const state = new Float32Array(units);
  const result = new Float32Array(tokens * units);
  for (let token = 0; token < tokens; token++) {
    const start = token * width;
    for (let i = 0; i < units; i++) {
      const forget = Math.fround(sigmoid(values[start + i]));
      state[i] = forget * state[i] + (1 - forget) * silu(values[start + units + i]);
      result[token * units + i] = sigmoid(values[start + 2 * units + i]) * state[i];
    }
  }
  return { values: result, shape: [tokens, units] };
}

/** The first half of each vector, through SiLU, times the second. */
function gatedUnit({ values, shape: [tokens, width] }) {
  const units = width / 2;
  const result = new Float32Array(tokens * units);
  for (let i = 0; i < result.length; i++) {
    const place = Math.floor(i / units) * width + (i % units);
    result[i] = silu(values[place]) * values[place + units];
  }
  return { values: result, shape: [tokens, units] };
}

function layerNorm({ values, shape }, gamma, beta, epsilon) {
  const features = gamma.length;
  const result = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += features) {
    const x = values.subarray(start, start + features);
    const mean = x.reduce((a, b) => a + b, 0) / features;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / features;
    const inverse = 1 / Math.sqrt(variance + epsilon);
    for (let i = 0; i < features; i++) result[start + i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
  }
  return { values: result, shape };
}

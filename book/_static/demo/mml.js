/**
 * Runs a packed model in a browser: reads the file that `mml.packing.save_packed` writes, and computes what the
 * model predicts. Products with ternary weights are sums and differences of 8-bit integers; no library is needed.
 *
 *     import { loadModel } from "./mml.js";
 *     const model = await loadModel(await (await fetch("model.safetensors")).arrayBuffer());
 *     const probabilities = model.predict(pixels); // of 32 x 32 x 3 numbers, 0 to 255
 *
 * It knows the layers of `mml.models.vision_transformer` and `mml.models.vision_mlgru` with any sizes, and raises an
 * error for any other layer. `src/mml/packing/__init__.py` describes the layout of the file, and `src/mml/layers` what
 * each layer computes.
 */

const FORMAT = "mml packed model";
const VERSION = "1";
const SMALLEST = 1e-5; // the largest magnitude of a vector that is rounded is at least this ...
const LARGEST = 1e9; // ... and at most this
const SMALLEST_SQUARE = 1e-14; // of a vector's length, so that zeros divide safely
const ROWS = 4; // vectors that go through a ternary kernel together, so that each place in it is read only once

/**
 * Read and check a packed model.
 *
 * @param {ArrayBuffer} buffer What `save_packed` wrote.
 * @returns {Promise<{classNames: string[] | null, inputShape: number[], logits: Function, predict: Function}>}
 *     `inputShape` is height, width and channels. `predict(pixels)` takes a typed array of that many numbers, 0 to 255,
 *     in rows, a pixel's channels together, and returns a Float32Array of one probability for each class;
 *     `logits(pixels)` returns the inputs of the softmax.
 * @throws {Error} If it is not a packed model, has another version, is damaged, or holds a layer that is not known here.
 */
export async function loadModel(buffer) {
  const { metadata, tensors } = await readFile(buffer);
  const file = { tensors, ternary: JSON.parse(metadata.ternary) };
  const config = JSON.parse(metadata.config);
  if (config.class_name !== "Sequential") {
    throw new Error(`The model must be a Sequential model. Received: ${config.class_name}`);
  }
  const layers = buildLayers(file, config, "");
  const inputShape = layers.inputShape;
  const size = inputShape.reduce((product, length) => product * length, 1);

  function logits(pixels) {
    if (pixels.length !== size) {
      throw new Error(`The picture must have ${inputShape.join(" x ")} numbers. Received: ${pixels.length}`);
    }
    let x = { values: new Float32Array(pixels), shape: inputShape };
    for (const layer of layers) x = layer(x);
    return x.values;
  }
  logits(new Float32Array(size)); // builds the layers: any mismatch is found here

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
    throw new Error("This is not a packed model, or its header is damaged.", { cause: error });
  }
  if (metadata.format !== FORMAT || metadata.version !== VERSION) {
    throw new Error(
      `The file must be a '${FORMAT}' of version '${VERSION}'. Received: '${metadata.format}', '${metadata.version}'`
    );
  }
  if ((await digest(bytes, start, metadata.sha256)) !== metadata.sha256) {
    throw new Error("The file is damaged: its contents do not match its checksum.");
  }
  const tensors = new Map();
  for (const [name, { dtype, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    tensors.set(name, { dtype, bytes: bytes.slice(start + offsets[0], start + offsets[1]) });
  }
  return { metadata, tensors };
}

/** SHA-256 of the whole file, with zeros instead of its own 64 digits. */
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
 * A ternary kernel, as a list of places for each output: where `denseMML` puts the inputs whose weight is 1, and
 * where it puts the negatives of the inputs whose weight is -1. The output is the sum of what lies there. A weight
 * of 0 takes no place and no time. A byte of the file holds five weights, `sum((w + 1) * 3**i)`.
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
    throw new Error(`${name} must be padded with zeros.`);
  }
  const places = new Uint32Array(weights.reduce((count, weight) => count + Math.abs(weight), 0));
  const ends = new Uint32Array(units); // of the places of each output
  for (let unit = 0, index = 0, place = 0; unit < units; unit++) {
    for (let feature = 0; feature < features; feature++, index++) {
      if (weights[index] === 1) places[place++] = ROWS * feature;
      else if (weights[index] === -1) places[place++] = ROWS * (features + feature);
    }
    ends[unit] = place;
  }
  return { units, scale: Math.fround(scale), places, ends };
}

// === Layers ===
// Each is a function from `{values, shape}` to the same, for one picture, without the axis of the batch. As in Keras,
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
      if (!build) throw new Error(`The layer ${options.name} is a ${kind}, which is not supported here.`);
      const activation = options.activation?.config ?? options.activation ?? "linear"; // a name, or one in an object
      if (!Object.hasOwn(ACTIVATIONS, activation)) {
        throw new Error(`The layer ${options.name} has the activation ${activation}, which is not supported here.`);
      }
      layers.push(build(file, `${prefix}${options.name}`, options), ACTIVATIONS[activation]);
    }
  }
  layers.inputShape = shape;
  return layers;
}

const ACTIVATIONS = { linear: (x) => x, "mml>squared_relu": squaredRelu };

const nothing = () => (x) => x; // what only training needs

const LAYERS = {
  Normalization(file, name) {
    return lazily(({ shape }) => {
      const channels = shape.at(-1);
      const mean = floats(file, `${name}.0/0`, channels);
      const deviation = floats(file, `${name}.0/1`, channels).map((v) => Math.max(Math.sqrt(v), 1e-7));
      return ({ values, shape }) => {
        const result = new Float32Array(values.length);
        for (let i = 0; i < result.length; i++) {
          const channel = i % channels;
          result[i] = Math.fround(values[i] - mean[channel]) / deviation[channel];
        }
        return { values: result, shape };
      };
    });
  },
  Resizing(file, name, options) {
    const { interpolation, antialias, crop_to_aspect_ratio: crop, pad_to_aspect_ratio: pad } = options;
    if (interpolation !== "bilinear" || antialias || crop || pad) {
      throw new Error(`The layer ${name} must be bilinear, without cropping, padding, or smoothing.`);
    }
    return (x) => resizeBilinear(x, options.height, options.width);
  },
  RandomFlip: nothing,
  RandomRotation: nothing,
  RandomZoom: nothing,
  RandomTranslation: nothing,
  RandomErasing: nothing,
  Dropout: nothing,
  Patches(file, name, { patch_size: size, strides, padding = "valid" }) {
    if (padding !== "valid" && padding !== "same") {
      throw new Error(`The layer ${name} must have the padding 'valid' or 'same'. Received: ${padding}`);
    }
    return (x) => patches(x, size, strides ?? size, padding);
  },
  PatchEmbedding(file, name, options) {
    if (!options.use_mml) throw new Error(`The layer ${name} must have a ternary projection.`);
    return lazily(({ shape: [count, features] }) => {
      const project = denseMML(file, `${name}.1`, `${name}.2`, features, count);
      if (!options.with_positions) return project;
      const positions = { values: floats(file, `${name}.3/0`, count * options.embedding_dim) };
      return (x) => add(project(x), positions);
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
      const order = scanOrder("right", 1, tokens);
      return (x) => {
        x = attentionNorm(add(x, output(recurrence(gates(x), order))));
        return ffnNorm(add(x, down(gatedUnit(gateAndUp(x)))));
      };
    });
  },
  VisionBlockMML(file, name, { grid: [rows, columns], direction, ffn_dim: width }) {
    if (!["right", "left", "down", "up"].includes(direction)) {
      throw new Error(`The layer ${name} must scan right, left, down, or up. Received: ${direction}`);
    }
    const order = scanOrder(direction, rows, columns);
    return lazily(({ shape: [tokens, features] }) => {
      const output = denseMML(file, `${name}.4`, `${name}.5`, features, tokens);
      const gates = denseMML(file, `${name}.6`, `${name}.7`, features, tokens);
      const down = denseMML(file, `${name}.9`, `${name}.10`, width, tokens);
      const gateAndUp = denseMML(file, `${name}.11`, `${name}.12`, features, tokens);
      return (x) => {
        x = add(x, output(recurrence(gates(tokenShift(x, rows, columns)), order)));
        return add(x, down(gatedUnit(gateAndUp(tokenShift(x, rows, columns)))));
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
  RMSNorm(file, name, options) {
    if (options.use_bias) throw new Error(`The layer ${name} must have no bias.`);
    return lazily(({ values, shape }) => {
      const features = shape.at(-1);
      return rmsNorm(file, `${name}.0`, features, values.length / features, options.has_learnable_weights);
    });
  },
  GlobalAveragePooling1D(file, name, options) {
    if (options.keepdims || options.data_format !== "channels_last") {
      throw new Error(`The layer ${name} must average over tokens and keep only the features.`);
    }
    return meanOfTokens;
  },
  Flatten: () => (x) => ({ values: x.values, shape: [x.values.length] }),
  Reshape(file, name, { target_shape: shape }) {
    const size = shape.reduce((product, length) => product * length, 1);
    return ({ values }) => {
      if (values.length !== size) {
        throw new Error(`The layer ${name} must get ${shape.join(" x ")} numbers. Received: ${values.length}`);
      }
      return { values, shape };
    };
  },
  DenseMML(file, name, options) {
    return lazily(({ values, shape }) => {
      const features = shape.at(-1);
      return denseMML(file, `${name}.0`, `${name}.1`, features, values.length / features, options.use_bias);
    });
  },
  Dense(file, name, { units }) {
    return lazily(({ shape: [features] }) => {
      const kernel = floats(file, `${name}.0/0`, features * units); // [features, units]
      const bias = floats(file, `${name}.0/1`, units);
      return ({ values }) => {
        const y = new Float64Array(bias);
        for (let i = 0, place = 0; i < features; i++) {
          for (let unit = 0; unit < units; unit++, place++) y[unit] += values[i] * kernel[place];
        }
        return { values: new Float32Array(y), shape: [units] };
      };
    });
  },
};

/** A layer that is built when it first sees a shape. */
function lazily(build) {
  let layer;
  return (x) => (layer ??= build(x))(x);
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const silu = (x) => x * sigmoid(x);

function add(a, b) {
  const result = new Float32Array(a.values.length);
  for (let i = 0; i < result.length; i++) result[i] = a.values[i] + b.values[i];
  return { values: result, shape: a.shape };
}

function squaredRelu({ values, shape }) {
  const result = new Float32Array(values.length);
  for (let i = 0; i < result.length; i++) if (values[i] > 0) result[i] = values[i] * values[i];
  return { values: result, shape };
}

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const exponentials = logits.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

/** Enlarge or reduce: each pixel is a weighted mean of the four nearest ones, without a filter. */
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

/**
 * Cut into squares, row by row, each of them flattened. From one square to the next there are `stride` pixels. With
 * the padding `same` there are as many squares as there are strides in the picture, and zeros beyond its edges.
 */
function patches({ values, shape: [height, width, channels] }, size, stride, padding) {
  const along = (side) => {
    if (padding === "valid") return [Math.floor((side - size) / stride) + 1, 0];
    const count = Math.ceil(side / stride);
    return [count, Math.floor(Math.max((count - 1) * stride + size - side, 0) / 2)];
  };
  const [rows, above] = along(height); // how many squares, and how many zeros before the first pixel
  const [columns, before] = along(width);
  const result = new Float32Array(rows * columns * size * size * channels);
  let place = 0;
  for (let row = 0; row < rows; row++) {
    const top = row * stride - above;
    for (let column = 0; column < columns; column++) {
      const left = column * stride - before;
      const [start, end] = [Math.max(left, 0), Math.min(left + size, width)]; // within the picture
      for (let y = top; y < top + size; y++, place += size * channels) {
        if (y < 0 || y >= height) continue;
        const line = values.subarray((y * width + start) * channels, (y * width + end) * channels);
        result.set(line, place + (start - left) * channels);
      }
    }
  }
  return { values: result, shape: [rows * columns, size * size * channels] };
}

/** Divide each vector by its root mean square, `x / |x| * sqrt(features)`, and scale it by the gain. */
function rmsNorm(file, name, features, tokens, hasGain = true) {
  // A gain for each feature, or one for each position and feature.
  const gain = hasGain ? floats(file, `${name}/0`, features, tokens * features) : new Float32Array(features).fill(1);
  return ({ values, shape }) => {
    const result = new Float32Array(values.length);
    for (let start = 0; start < values.length; start += features) {
      let squares = 0;
      for (let i = start; i < start + features; i++) squares += values[i] * values[i];
      const inverse = Math.fround(Math.sqrt(features / Math.max(squares, SMALLEST_SQUARE)));
      for (let i = start; i < start + features; i++) {
        result[i] = Math.fround(values[i] * inverse) * gain[i % gain.length];
      }
    }
    return { values: result, shape };
  };
}

/**
 * Ternary dense layer: each vector is normalized and rounded to 8-bit integers, the integers are added and subtracted
 * as the weights say, and only the sums are scaled.
 */
function denseMML(file, name, normName, features, tokens, useBias = true) {
  const kernel = ternaryKernel(file, `${name}/kernel`, features);
  const { units, scale } = kernel;
  const norm = rmsNorm(file, normName, features, tokens);
  const bias = useBias ? floats(file, `${name}/bias`, units) : new Float32Array(units);
  // The first feature of each of the vectors, then the second of each, and so on; after the last, their negatives.
  const quantized = new Int16Array(2 * ROWS * features);
  const steps = new Float32Array(ROWS);
  const sums = new Int32Array(ROWS * units);
  return (x) => {
    const rows = x.values.length / features;
    const normalized = norm(x).values;
    const result = new Float32Array(rows * units);
    for (let first = 0; first < rows; first += ROWS) {
      const count = Math.min(ROWS, rows - first); // leftovers of earlier vectors are summed but not used
      for (let row = 0; row < count; row++) {
        const start = (first + row) * features;
        steps[row] = absmaxQuantize(normalized.subarray(start, start + features), quantized, row) * scale;
      }
      addAndSubtract(kernel, quantized, sums);
      for (let row = 0, i = first * units; row < count; row++) {
        for (let unit = 0; unit < units; unit++, i++) {
          result[i] = Math.fround(sums[ROWS * unit + row] * steps[row]) + bias[unit];
        }
      }
    }
    return { values: result, shape: [...x.shape.slice(0, -1), units] };
  };
}

/** For each output, the sums of the `ROWS` vectors. Nearly all the time of a prediction goes into the inner loop. */
function addAndSubtract({ units, places, ends }, quantized, sums) {
  for (let unit = 0, place = 0; unit < units; unit++) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (const end = ends[unit]; place < end; place++) {
      const at = places[place];
      a = (a + quantized[at]) | 0;
      b = (b + quantized[at + 1]) | 0;
      c = (c + quantized[at + 2]) | 0;
      d = (d + quantized[at + 3]) | 0;
    }
    sums[ROWS * unit] = a;
    sums[ROWS * unit + 1] = b;
    sums[ROWS * unit + 2] = c;
    sums[ROWS * unit + 3] = d;
  }
}

/**
 * Round to integers from -128 to 127, at the scale of the largest magnitude, which is returned as the step. They are
 * written as one of the vectors of `denseMML`, and their negatives, too.
 */
function absmaxQuantize(x, quantized, row) {
  let largest = SMALLEST;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]));
  largest = Math.min(largest, LARGEST);
  const factor = Math.fround(127 / largest);
  for (let i = 0; i < x.length; i++) {
    const value = Math.max(-128, Math.min(127, roundHalfToEven(Math.fround(x[i] * factor))));
    quantized[ROWS * i + row] = value;
    quantized[ROWS * (x.length + i) + row] = -value;
  }
  return Math.fround(largest / 127);
}

/** As Keras rounds; `Math.round` would round 0.5 up. The sum has no room for decimals. */
function roundHalfToEven(x) {
  return x + 2 ** 52 * 1.5 - 2 ** 52 * 1.5;
}

/** The tokens of a grid, which are in the order of its rows, in the order in which a scan visits them. */
function scanOrder(direction, rows, columns) {
  const order = Array.from({ length: rows * columns }, (_, step) => {
    const byColumns = direction === "down" || direction === "up";
    return byColumns ? (step % rows) * columns + Math.floor(step / rows) : step;
  });
  return direction === "left" || direction === "up" ? order.reverse() : order;
}

/** The state that goes from token to token, `h = f * h + (1 - f) * c`, seen through the output gate. */
function recurrence({ values, shape: [tokens, width] }, order) {
  const units = width / 3; // forget gate, candidate, output gate
  const state = new Float32Array(units);
  const result = new Float32Array(tokens * units);
  for (const token of order) {
    const start = token * width;
    for (let i = 0; i < units; i++) {
      const forget = Math.fround(sigmoid(values[start + i]));
      state[i] = forget * state[i] + (1 - forget) * silu(values[start + units + i]);
      result[token * units + i] = sigmoid(values[start + 2 * units + i]) * state[i];
    }
  }
  return { values: result, shape: [tokens, units] };
}

/**
 * An eighth of the features of each token comes from its neighbor on the left, an eighth each from those on the
 * right, above and below, and the rest stays. Beyond the edges there are zeros.
 */
function tokenShift({ values, shape: [tokens, features] }, rows, columns) {
  const share = Math.floor(features / 8);
  const result = new Float32Array(values.length);
  for (let token = 0; token < tokens; token++) {
    const [row, column] = [Math.floor(token / columns), token % columns];
    const copy = (source, start, end) => {
      result.set(values.subarray(source * features + start, source * features + end), token * features + start);
    };
    if (column > 0) copy(token - 1, 0, share);
    if (column < columns - 1) copy(token + 1, share, 2 * share);
    if (row > 0) copy(token - columns, 2 * share, 3 * share);
    if (row < rows - 1) copy(token + columns, 3 * share, 4 * share);
    copy(token, 4 * share, features);
  }
  return { values: result, shape: [tokens, features] };
}

function meanOfTokens({ values, shape: [tokens, features] }) {
  const sums = new Float64Array(features);
  for (let i = 0; i < values.length; i++) sums[i % features] += values[i];
  return { values: Float32Array.from(sums, (sum) => sum / tokens), shape: [features] };
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

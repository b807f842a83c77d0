/** The first page's demonstration: classify a picture that the reader picks, with the model that the build packed. */

import { loadModel } from "./mml.js";

const demo = document.getElementById("demo");
const input = demo.querySelector("input");
const canvas = demo.querySelector("canvas");
const answer = demo.querySelector("[role=status]");
let model; // a promise, once a picture is chosen

async function load() {
  const response = await fetch(new URL("model.safetensors", import.meta.url));
  if (!response.ok) throw new Error(`the model could not be loaded (${response.status})`);
  return loadModel(await response.arrayBuffer());
}

/** The middle of a picture, on a white ground where it is transparent, at the model's size; as `mml.images` does. */
function shrink(picture, height, width) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [x, y] = [(width - scale * picture.width) / 2, (height - scale * picture.height) / 2];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, x, y, scale * picture.width, scale * picture.height);
  canvas.hidden = false;
  const { data } = context.getImageData(0, 0, width, height);
  return data.filter((_, index) => index % 4 < 3); // without the alpha channel
}

async function classify(file) {
  answer.textContent = "Loading the model…";
  model ??= load();
  const { inputShape, classNames, predict } = await model;
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is not a picture that this browser can read`);
  });
  const pixels = shrink(picture, inputShape[0], inputShape[1]);
  predict(pixels); // the browser compiles the code while it first runs
  const start = performance.now();
  const probabilities = predict(pixels);
  const milliseconds = Math.round(performance.now() - start);
  const best = Array.from(probabilities, (probability, index) => ({ probability, name: classNames[index] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 5);
  const list = document.createElement("ol");
  for (const { probability, name } of best) {
    const item = document.createElement("li");
    item.textContent = `${name}: ${(100 * probability).toFixed(1)}%`;
    list.append(item);
  }
  answer.replaceChildren(
    `Computed in ${milliseconds} ms, in your browser (second run; the first also compiles the code):`,
    list
  );
}

input.addEventListener("change", () => {
  if (!input.files.length) return;
  classify(input.files[0]).catch((error) => {
    model = undefined; // the next attempt starts over
    answer.textContent = `Sorry: ${error.message.replace(/\.$/, "")}.`;
  });
});

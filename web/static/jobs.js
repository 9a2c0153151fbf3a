// The form: the chosen pipeline's parameters alone, what the job would cost, and what is wrong beside each field.

import { showBytes, showSeconds } from "/static/amounts.js";
import "/static/times.js";

const form = document.getElementById("job");
const byId = (id) => document.getElementById(id);
const RANGE = /^ *(\d{1,15}) *, *(\d{1,15}) *$/;
let asked = 0; // the latest question to the server; answers to earlier ones come too late

const placeOf = (name) => name.replaceAll(".", "-");

function showParameters() {
  const chosen = form.pipeline.value;
  for (const group of form.querySelectorAll(".group")) {
    const own = group.dataset.pipeline === chosen;
    group.hidden = !own;
    for (const input of group.querySelectorAll("input, select")) input.disabled = !own;
  }
}

function showCost(rows) {
  const list = byId("cost");
  list.replaceChildren();
  for (const [name, text] of rows) {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = text;
    list.append(dt, dd);
  }
}

/** Voxels from the ranges alone; null if one of them is none yet. */
function countVoxels() {
  const lengths = ["z", "y", "x"].map((axis) => {
    const found = RANGE.exec(form[`${axis}_range`].value);
    return found ? Number(found[2]) - Number(found[1]) : 0;
  });
  return lengths.every((n) => n > 0) ? lengths : null;
}

function setError(name, reason) {
  const input = form.elements[name];
  const line = byId(`${placeOf(name)}-error`);
  if (!input || !line) return false;
  line.textContent = reason ?? "";
  line.hidden = !reason;
  input.closest(".field").classList.toggle("wrong", Boolean(reason));
  if (reason) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  return true;
}

function names() {
  return [...form.elements].filter((each) => each.name && each.name !== "action").map((each) => each.name);
}

function showErrors(errors) {
  const own = Object.fromEntries(
    Object.entries(errors).map(([name, reason]) => [form.elements[name] ? name : `${form.pipeline.value}.${name}`, reason]),
  );
  for (const name of names()) setError(name, own[name]);
}

async function estimate() {
  const lengths = countVoxels();
  if (lengths) showCost([["Voxels", `${lengths.reduce((a, b) => a * b).toLocaleString("en")} a channel (${lengths.join(" × ")})`]]);
  const missing = ["pipeline", "col", "exp", "z_range", "y_range", "x_range", "token"].filter((name) => !form[name].value.trim());
  if (missing.length) {
    byId("cost-note").textContent = "Bytes and minutes are told when all is filled in.";
    return missing;
  }
  const mine = ++asked;
  const card = byId("cost").closest(".cost");
  card.dataset.busy = "true";
  byId("cost-note").textContent = "Asking the archive…";
  try {
    const fields = new FormData(form);
    fields.delete("email");
    const answer = await fetch("/api/v1/estimates", { method: "POST", body: new URLSearchParams(fields) });
    const document_ = await answer.json();
    if (mine !== asked) return [];
    tellEstimate(answer.ok, document_);
  } catch {
    byId("cost-note").textContent = "The server does not answer.";
  } finally {
    if (mine === asked) card.dataset.busy = "false";
  }
  return [];
}

function tellEstimate(ok, found) {
  showErrors(found.errors ?? {});
  if (!ok) {
    byId("cost-note").textContent = found.errors ? "Something is to be put right first." : found.detail;
    return;
  }
  showCost([
    ["Voxels", `${found.voxels.toLocaleString("en")} in each of ${found.channels} channels`],
    ["To be read", showBytes(found.bytes)],
    ["Time", `about ${showSeconds(found.seconds)}`],
    ["Memory", `${showBytes(found.memory)} a process`],
  ]);
  byId("cost-note").textContent = "Nothing has been started yet.";
}

form.pipeline.addEventListener("change", showParameters);
form.addEventListener("change", (event) => {
  setError(event.target.name, null);
  estimate();
});
byId("estimate").addEventListener("click", async (event) => {
  event.preventDefault();
  for (const name of await estimate()) setError(name, "this has to be filled in");
});

showParameters();
if (countVoxels()) estimate();
document.querySelector("[aria-invalid]")?.focus();

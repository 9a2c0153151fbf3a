// The page of a job, live: events as they come, or questions now and then where the server has no stream to spare.

import { showBytes, showSeconds } from "/static/amounts.js";
import { showTime } from "/static/times.js";

const ASK_MILLISECONDS = 2000;
const config = JSON.parse(document.getElementById("config").textContent);
const byId = (id) => document.getElementById(id);

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

function findStage(name) {
  for (const item of byId("stages").children) if (item.dataset.stage === name) return item;
  const item = element("li", {});
  item.dataset.stage = name;
  item.append(element("span", { className: "name", textContent: name }), element("progress", {}), element("span", { className: "said number" }));
  const [label, bar, said] = item.children;
  item.replaceChildren(label, said, bar);
  byId("stages").append(item);
  return item;
}

function showStage(stage) {
  if (!byId("stages")) return;
  byId("waiting").hidden = true;
  const item = findStage(stage.name);
  const bar = item.querySelector("progress");
  bar.max = stage.blocks || 1;
  bar.value = stage.finished ? bar.max : stage.blocks_done;
  const said = [`${stage.blocks_done.toLocaleString("en")} of ${stage.blocks.toLocaleString("en")} blocks`];
  if (stage.bytes) said.push(`${showBytes(stage.bytes_done)} of ${showBytes(stage.bytes)}`);
  if (!stage.finished && stage.seconds_left != null) said.push(`about ${showSeconds(stage.seconds_left)} left`);
  item.querySelector(".said").textContent = said.join(", ");
}

function showLine(event, text) {
  const log = byId("log");
  if ([...log.children].some((line) => Number(line.dataset.number) >= event.number)) return;
  const line = element("li", {});
  line.dataset.number = event.number;
  const time = element("time", { dateTime: event.time });
  time.dataset.short = "";
  showTime(time);
  line.append(time, ` ${text}`);
  log.append(line);
  log.scrollTop = log.scrollHeight;
}

function showState(state) {
  const badge = byId("state");
  if (badge.dataset.state === state) return;
  badge.dataset.state = state;
  badge.textContent = state;
  document.title = document.title.replace(/: [^:]*( – VoxelForest)$/, `: ${state}$1`);
  const waiting = byId("waiting");
  if (waiting && state === "running") waiting.textContent = "It is about to begin.";
}

const ENDED = ["done", "failed", "cancelled", "needs token"];

/** What came of it is on the page that the server makes. */
function finish() {
  location.reload();
}

async function ask() {
  try {
    const answer = await fetch(config.job, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const job = await answer.json();
      showState(job.state);
      job.stages.forEach(showStage);
      if (ENDED.includes(job.state)) return finish();
    }
  } catch {
    // a server that is started again answers the next time
  }
  setTimeout(ask, ASK_MILLISECONDS);
}

function listen() {
  const stream = new EventSource(`${config.job}/events`);
  const read = (message) => JSON.parse(message.data);
  stream.addEventListener("stage", (message) => showStage(read(message)));
  stream.addEventListener("note", (message) => showLine(read(message), read(message).text));
  stream.addEventListener("state", (message) => {
    const event = read(message);
    showState(event.state);
    showLine(event, event.reason ? `${event.state}: ${event.reason}` : event.state);
  });
  stream.addEventListener("end", () => {
    stream.close();
    finish();
  });
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
    ask();
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => {
    const link = byId(button.dataset.copy);
    link.select();
    navigator.clipboard?.writeText(link.value).then(() => (button.textContent = "Copied"));
  });
}
if (config.live) listen();

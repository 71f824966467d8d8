// The same on Node: http, promises, the usual retries. Hogs run in the one thread, or in worker_threads (its best effort).
import http from "node:http";
import { readFileSync } from "node:fs";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

const PAUSE = 300, HOG_MS = 200;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => process.hrtime.bigint();

function tokenise() {
  const end = performance.now() + HOG_MS, counts = new Map();
  while (performance.now() < end)
    for (const letter of "the beam carries the house and the window above it ".repeat(20))
      counts.set(letter, (counts.get(letter) ?? 0) + 1);
}
let text = null;
function parse() {
  if (text === null) {
    const row = { name: "x".repeat(10), values: [1.5, 2, null, true], more: { a: "b" } };
    const sample = JSON.stringify(Array(20000).fill(row)), begin = performance.now();
    JSON.parse(sample);
    text = JSON.stringify(Array(Math.floor((20000 * HOG_MS) / (performance.now() - begin))).fill(row));
  }
  JSON.parse(text);
}
function embed() {
  const end = performance.now() + HOG_MS, a = new Float32Array(65536).fill(1);
  while (performance.now() < end) for (let i = 1; i < a.length; i++) a[i] = a[i] * 0.5 + a[i - 1];
}
const HOGS = [tokenise, parse, embed];

if (!isMainThread) {
  parentPort.on("message", (number) => { HOGS[number](); parentPort.postMessage("done"); });
} else {
  const plan = JSON.parse(process.argv[2]);
  const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });
  const tool = { type: "function", function: { name: "look_up", parameters: { type: "object", properties: {} } } };
  const heard = []; // the delays of each reply that was heard to its end
  let ended = 0, givenUp = 0;
  let hogTurns = 0;

  function stream(user, messages, onToken) {
    const body = JSON.stringify({ model: "demo", messages, tools: [tool], stream: true, user });
    const headers = { authorization: "Bearer x", "content-length": Buffer.byteLength(body),
      "x-tokens": Math.floor(plan.tokens / 3), "x-seconds": plan.seconds / 3, "x-tool-calls": 2, "x-burst": plan.burst };
    return new Promise((resolve, reject) => {
      const options = { port: plan.port, host: "127.0.0.1", path: "/v1/chat/completions", method: "POST", headers, agent };
      const request = http.request(options, (response) => {
        if (response.statusCode !== 200) {
          response.resume();
          reject(Object.assign(new Error("refused"), { wait: Number(response.headers["retry-after"] ?? 1) }));
          return;
        }
        let rest = "", done = false;
        response.setEncoding("utf8");
        response.on("data", (data) => {
          const lines = (rest + data).split("\n");
          rest = lines.pop();
          try {
            for (const line of lines)
              if (line.startsWith("data: {")) onToken(JSON.parse(line.slice(6)), line);
              else if (line.startsWith("data: [DONE]")) done = true;
          } catch (error) { request.destroy(error); }
        });
        response.on("error", reject);
        response.on("close", () => (done ? resolve() : reject(new Error("cut"))));
      });
      request.setTimeout(plan.patience * 1000, () => request.destroy(new Error("silent")));
      request.on("error", reject);
      request.end(body);
    });
  }

  async function converse(number) {
    const messages = [{ role: "user", content: "hello" }];
    let finish = null;
    while (finish !== "stop") {
      const delays = [];
      await stream(String(number), messages, (chunk, line) => {
        // The number is larger than a double holds exactly: take it from the text.
        const sent = BigInt(line.slice(line.lastIndexOf(":") + 1, line.lastIndexOf("}")).trim());
        delays.push(Number(now() - sent) / 1e6);
        finish = chunk.choices[0].finish_reason;
      });
      heard.push(delays);
      messages.push({ role: "tool", tool_call_id: "1", content: "found" });
      await sleep(1);
    }
  }

  async function session(number) {
    await sleep((plan.ramp * 1000 * number) / plan.sessions);
    let wait = 1;
    for (let attempt = 0; attempt <= plan.attempts; attempt++) {
      try { await converse(number); ended++; return; }
      catch (error) { await sleep(1000 * Math.max(wait, error.wait ?? 0) * (0.8 + 0.2 * Math.random())); }
      wait = Math.min(wait * 2, 10);
    }
    ended++, givenUp++;
  }

  async function hog(number) {
    const worker = plan.hogs === "threads" ? new Worker(new URL(import.meta.url)) : null;
    for (;;) {
      if (worker) await new Promise((resolve) => { worker.once("message", resolve); worker.postMessage(number); });
      else HOGS[number]();
      hogTurns++;
      await sleep(PAUSE);
    }
  }

  const resident = () => Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096;
  if (plan.hogs !== "none") { HOGS.forEach((work) => work()); HOGS.forEach((_, number) => hog(number)); }
  const before = resident();
  const all = Promise.all(Array.from({ length: plan.sessions }, (_, number) => session(number)));
  await sleep(1000 * (plan.ramp + plan.seconds / 2));
  const peak = resident();
  await Promise.race([all, sleep(1000 * (plan.limit - plan.ramp - plan.seconds / 2))]);
  const every = Float64Array.from(heard.flat()).sort();
  const at = (share) => every[Math.min(every.length - 1, Math.floor(share * every.length))] ?? NaN;
  console.log(JSON.stringify({ completed: ended - givenUp, given_up: givenUp,
    open: plan.sessions - ended, tokens: every.length, p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1),
    kib: (peak - before) / 1024 / plan.sessions, hog_turns: hogTurns }));
  process.exit(0);
}

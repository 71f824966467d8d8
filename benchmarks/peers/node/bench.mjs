// Node's side: async functions with a mailbox each; worker threads where the scenario has two schedulers.
import { Worker, MessageChannel } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import { Mailbox } from './mailbox.mjs';

const now = () => Number(process.hrtime.bigint());

async function pong(inbox) {
  for (;;) {
    const [who, n] = await inbox.get();
    who.put([inbox, n]);
  }
}

async function ping(inbox, peer, count) {
  for (let n = 0; n < count; n++) {
    peer.put([inbox, n]);
    await inbox.get();
  }
}

async function play(roundTrips) {
  const inbox = new Mailbox(), peer = new Mailbox();
  pong(peer);
  const start = now();
  await ping(inbox, peer, roundTrips);
  return now() - start;
}

async function hop({ n }) {
  await play(Math.floor(n / 20));
  const roundTrips = Math.floor(n / 2);
  return { ns: await play(roundTrips) / (2 * roundTrips) };
}

// Two workers, one message channel a pair, the halves in different workers.
async function playSplit(pairs, roundTrips) {
  const url = new URL('./half.mjs', import.meta.url);
  const sides = ['answer', 'ask'].map((part) => new Worker(url, { workerData: { part, roundTrips } }));
  const channels = Array.from({ length: pairs }, () => new MessageChannel());
  await Promise.all(sides.map((side) => new Promise((ready) => {
    side.once('message', ready);
    const ports = channels.map((c) => (side === sides[0] ? c.port1 : c.port2));
    side.postMessage(ports, ports);
  })));
  const done = new Promise((resolve) => sides[1].once('message', resolve));
  const start = now();
  sides[1].postMessage('go');
  await done;
  const took = now() - start;
  await Promise.all(sides.map((side) => side.terminate()));
  return took;
}

async function split({ n, pairs }) {
  const roundTrips = Math.floor(n / 2 / pairs);
  await playSplit(pairs, Math.max(1, Math.floor(roundTrips / 10)));
  return { ns: await playSplit(pairs, roundTrips) / (2 * roundTrips * pairs) };
}

// Four senders in a worker thread, the receiver in this one.
async function fanin({ n }) {
  const each = Math.floor(n / 4);
  const worker = new Worker(new URL('./producers.mjs', import.meta.url));
  const gather = (count) => new Promise((resolve) => {
    let left = 4 * count, total = 0;
    const channels = Array.from({ length: 4 }, () => new MessageChannel());
    const start = now();
    for (const { port1 } of channels) {
      port1.on('message', ([, k]) => {
        total += k;
        if (--left > 0) return;
        if (total !== 4 * (count * (count - 1) / 2)) throw new Error('a message was lost or doubled');
        for (const c of channels) c.port1.close();
        resolve(now() - start);
      });
    }
    const ports = channels.map((c) => c.port2);
    worker.postMessage({ ports, count }, ports);
  });
  await gather(Math.floor(each / 10));
  const took = await gather(each);
  await worker.terminate();
  return { ns: took / (each * 4) };
}

async function nothing() {}

async function down({ n }) {
  for (let i = 0; i < n / 10; i++) await nothing();
  const start = now();
  for (let i = 0; i < n; i++) await nothing();
  return { ns: (now() - start) / n };
}

async function timer({ n }) {
  const late = () => {};
  for (let i = 0; i < n / 10; i++) clearTimeout(setTimeout(late, 10000));
  const start = now();
  for (let i = 0; i < n; i++) clearTimeout(setTimeout(late, 10000));
  return { ns: (now() - start) / n };
}

async function server(inbox) {
  for (;;) {
    const [reply, n] = await inbox.get();
    reply(n);
  }
}

async function call({ n }) {
  const inbox = new Mailbox();
  server(inbox);
  const calls = async (count) => {
    const start = now();
    for (let i = 0; i < count; i++) await new Promise((reply) => inbox.put([reply, i]));
    return (now() - start) / count;
  };
  await calls(n);
  return { ns: await calls(3 * n) };
}

async function waits(inbox) {
  for (;;) await inbox.get();
}

async function bytes({ n }) {
  const keep = [];
  const fill = (count) => {
    for (let i = 0; i < count; i++) {
      const inbox = new Mailbox();
      keep.push(inbox);
      waits(inbox);
    }
  };
  fill(1000);
  await sleep(200);
  globalThis.gc();
  const before = process.memoryUsage().rss;
  fill(n);
  await sleep(500);
  globalThis.gc();
  return { bytes: (process.memoryUsage().rss - before) / n };
}

async function member(inbox) {
  const [who, n] = await inbox.get();
  who.put(n + 1);
}

async function million({ n }) {
  const start = now();
  const inboxes = Array.from({ length: n }, () => new Mailbox());
  const ends = inboxes.map(member);
  const created = now();
  const live = inboxes.filter((inbox) => inbox.reader).length;
  const me = new Mailbox();
  inboxes.forEach((inbox, i) => inbox.put([me, i]));
  let total = 0;
  for (let i = 0; i < n; i++) total += await me.get();
  await Promise.all(ends);
  if (total !== n * (n + 1) / 2) throw new Error('a message was lost or doubled');
  return { seconds: (now() - start) / 1e9, create_s: (created - start) / 1e9, live };
}

async function idle({ seconds }) {
  await sleep(500);
  const before = process.cpuUsage();
  await sleep(seconds * 1000);
  const used = process.cpuUsage(before);
  return { percent: (used.user + used.system) / 1e6 / seconds * 100 };
}

const scenarios = { hop, split, fanin, down, timer, call, bytes, million, idle };
const [name, ...rest] = process.argv.slice(2);
const params = Object.fromEntries(rest.map((a) => a.split('=')).map(([k, v]) => [k, Number(v)]));
const result = await scenarios[name](params);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));

// A worker of Reattach in TypeScript, run by Node 22.18 or newer as it is: node worker.ts http://127.0.0.1:8000 poet
// Its agent says the lines of its input, saves its place after each, and may ask before it is done. docs/workers.md
const [url, agent] = process.argv.slice(2);
const worker = `${agent}-${process.pid}`;
const renewMs = Number(process.env.RENEW_MS ?? 5000); // a third of the server's REATTACH_LEASE_S
const login = process.env.REATTACH_TOKEN ? { Authorization: `Bearer ${process.env.REATTACH_TOKEN}` } : {};
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
class Refused extends Error { status = 0; }
/** The same request until it is answered: whatever it says twice, the log takes once. */
async function post(path: string, body: object, epoch?: number): Promise<any> {
  for (let wait = 100; ; wait = Math.min(wait * 2, 5000)) {
    const headers = { "Content-Type": "application/json", ...login, ...(epoch && { "Run-Epoch": String(epoch) }) };
    try {
      const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
      if (answer.ok) return await answer.json();
      if (answer.status < 500) throw Object.assign(new Refused(await answer.text()), { status: answer.status });
    } catch (error) {
      if (error instanceof Refused) throw error; // anything else is trouble, and passes
    }
    await sleep(wait);
  }
}

/** One segment of a run: from the claim's checkpoint to an end, or to a question for people. */
async function work({ run, input, next_seq, outline, checkpoint, decisions }: any): Promise<void> {
  let [seq, messages, parts, step] = [next_seq, outline.messages, outline.part_count, checkpoint?.step ?? 0];
  const send = (verb: string, body: object) => post(`/v1/runs/${run.run_id}/${verb}`, body, run.epoch);
  const append = async (frames: object[], state?: unknown) => {
    const saved = state === undefined ? {} : { checkpoint: { step, state } };
    seq = (await send("output", { first_seq: seq, frames, ...saved })).head_seq + 1;
  };
  const renewing = setInterval(() => send("renew", { worker }).catch(() => clearInterval(renewing)), renewMs);
  try {
    for (let line = checkpoint?.state ?? 0; line < input.lines.length; line++) {
      const message_id = `${run.session_id}:${run.run_id}:${++messages}`;
      const part = `${run.turn}.${run.attempt}.${++parts}`;
      const start = { type: "message.start", message_id, role: "assistant" };
      await append([{ type: "step.start", step: ++step }, start, { type: "text.start", part, message_id }]);
      for (const text of input.lines[line].match(/\S+\s*/g)) {
        await append([{ type: "text.delta", part, text }]);
        await sleep(input.pace_ms ?? 0);
      }
      const end = [{ type: "text.end", part }, { type: "message.end", message_id, role: "assistant" }];
      await append([...end, { type: "step.end", step, checkpoint: step }], line + 1);
    }
    const call = { tool_call_id: `${run.run_id}.print`, tool: "print", arguments: { lines: input.lines.length } };
    if (input.ask && !decisions.length) await send("suspend", { approvals: [call], step, state: input.lines.length });
    else await send("complete", { stop_reason: decisions[0]?.outcome ?? "end_turn" });
  } catch (error: any) {
    console.log(`${run.run_id}: ${error.message}`);
    if ([404, 409, 412].includes(error.status)) return; // over, or somebody else's by now: not ours to end
    await send("fail", { error: { type: "poet_error", message: String(error.message) } }).catch(() => {});
  } finally { clearInterval(renewing); }
}

for (console.log(`${worker} works`); ; ) {
  const { items } = await post("/v1/work/claim", { worker, agents: [agent] });
  await Promise.all(items.map(work));
  if (!items.length) await sleep(200);
}

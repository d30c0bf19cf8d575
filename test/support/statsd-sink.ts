/** A StatsD server for tests: receives lines over UDP and keeps the last value of each gauge and the sum of each counter. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { atEnd } from "./at-end.ts";

export interface StatsdSink {
  readonly port: number;
  readonly gauges: ReadonlyMap<string, number>;
  readonly counts: ReadonlyMap<string, number>;
  history(name: string): readonly number[];
  readonly badLines: readonly string[];
}

const LINE = /^([A-Za-z0-9_.-]+):([0-9.]+)\|([cg])$/;

export async function startStatsdSink(): Promise<StatsdSink> {
  const socket = createSocket("udp4");
  const gauges = new Map<string, number>();
  const counts = new Map<string, number>();
  const histories = new Map<string, number[]>();
  const badLines: string[] = [];

  function record(text: string): void {
    const [, name = "", value = "", type] = LINE.exec(text) ?? [];
    if (type === "c") counts.set(name, (counts.get(name) ?? 0) + Number(value));
    else if (type === "g") {
      gauges.set(name, Number(value));
      const history = histories.get(name) ?? [];
      history.push(Number(value));
      histories.set(name, history);
    } else badLines.push(text);
  }

  socket.on("message", (datagram) => {
    for (const line of datagram.toString().split("\n")) record(line);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  atEnd(() => socket.close());
  return {
    port: socket.address().port,
    gauges,
    counts,
    history: (name) => histories.get(name) ?? [],
    badLines,
  };
}

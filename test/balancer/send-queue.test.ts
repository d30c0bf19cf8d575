import { describe, expect, test } from "vitest";
import {
  createSendQueues,
  type Ends,
  keyOf,
  parseTable,
} from "../../balancer/transport/send-queue.ts";
import { until } from "../support/until.ts";

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0438 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 635 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0438 0100007F:D2C4 01 00281000:00000000 01:00000014 00000000     0        0 700 1 0000000000000000 20 4 30 10 -1
  12: 0100007F:0438 0A0200C0:A80A 01 00000000:00000012 00:00000000 00000000     0        0 701 1 0000000000000000 20 4 30 10 -1
`;

const ENDS: Ends = {
  localAddress: "127.0.0.1",
  localPort: 1080,
  remoteAddress: "127.0.0.1",
  remotePort: 53_956,
};

describe("the send queue of a connection", () => {
  test("the kernel's connection table gives the unacknowledged bytes of each connection", () => {
    expect([...parseTable(TABLE)]).toEqual([["0100007F:0438 0100007F:D2C4", 0x281000]]);
    expect(keyOf(ENDS)).toBe("0100007F:0438 0100007F:D2C4");
  });

  test.each([
    ["::1", "00000000000000000000000001000000"],
    ["::ffff:192.0.2.10", "0000000000000000FFFF00000A0200C0"],
    ["2001:db8:0:1::42", "B80D0120010000000000000042000000"],
    ["fe80::1:2%eth0", "000080FE000000000000000002000100"],
  ])(
    "the kernel's table writes the address %s as words in the machine's byte order",
    (remoteAddress, hex) => {
      expect(keyOf({ ...ENDS, remoteAddress })).toBe(`0100007F:0438 ${hex}:D2C4`);
    },
  );

  test("concurrent lookups share one read of the connection table", async () => {
    const read: string[] = [];
    const queues = createSendQueues(async (path) => {
      read.push(path);
      return TABLE;
    });
    const other = { ...ENDS, remotePort: 1 };
    expect(await Promise.all([queues.bytesOf(ENDS), queues.bytesOf(other)])).toEqual([0x281000, 0]);
    await queues.bytesOf({ ...ENDS, localAddress: "::1", remoteAddress: "::1" });
    expect(read).toEqual(["/proc/net/tcp", "/proc/net/tcp6"]);
    await queues.bytesOf(ENDS);
    expect(read).toEqual(["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/tcp"]);
  });

  test("a lookup during a read gets the table of the next one, which begins a while later", async () => {
    const endOfRead: ((bytes: string) => void)[] = [];
    const queues = createSendQueues(
      () =>
        new Promise((resolve) => {
          endOfRead.push((bytes) => resolve(TABLE.replace("00281000", bytes)));
        }),
    );
    const first = queues.bytesOf(ENDS);
    await until("the first read has begun", () => endOfRead.length === 1);
    const [second, third] = [queues.bytesOf(ENDS), queues.bytesOf(ENDS)];
    endOfRead[0]?.("00000007");
    expect(await first).toBe(7);
    expect(endOfRead).toHaveLength(1);
    await until("the second read has begun", () => endOfRead.length === 2);
    endOfRead[1]?.("00000005");
    expect(await Promise.all([second, third])).toEqual([5, 5]);
  });

  test("the send queue is unknown when the connection table cannot be read", async () => {
    const queues = createSendQueues(() => Promise.reject(new Error("no such file")));
    expect(await queues.bytesOf(ENDS)).toBeUndefined();
  });
});

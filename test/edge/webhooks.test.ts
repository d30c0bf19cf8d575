/** `ct-edge webhooks test`, which needs no edge. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type CommandResult, runCommand } from "../support/command.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { startWebhookReceiver } from "../support/webhook-receiver.ts";

function commandWith(text: string): (...args: string[]) => Promise<CommandResult> {
  const folder = tempFolder();
  const file = join(folder, "webhooks.json");
  writeFileSync(file, text);
  const env = { CT_WEBHOOKS: file, CT_WEBHOOK_NETWORKS: "127.0.0.0/8" };
  return (...args) => runCommand(["webhooks", "test", ...args], env);
}

test("a test event is signed, and the response is shown for each receiver", async () => {
  const receiver = await startWebhookReceiver();
  const secrets = [receiver.secret];
  const receivers = [
    { name: "good", url: receiver.url, secrets },
    { name: "absent", url: "http://127.0.0.1:1/", secrets },
  ];
  const command = commandWith(JSON.stringify({ receivers }));
  const { status, stdout } = await command();
  expect(status).toBe(1);
  expect(stdout).toMatch(/^good: accepted with status 204 in \d+ ms$/m);
  expect(stdout).toMatch(/^absent: not accepted: .*ECONNREFUSED.* \(after \d+ ms\)$/m);
  expect(receiver.events).toMatchObject([{ kind: "test", worker: "ct-edge" }]);
  expect(receiver.problems).toEqual([]);

  const one = await command("good", "--json");
  expect(one.status).toBe(0);
  expect(JSON.parse(one.stdout)).toMatchObject([
    { receiver: "good", attempt: { outcome: "accepted", status: 204 } },
  ]);
  const none = await command("other");
  expect(none.stderr).toContain('there is no receiver "other"; there are: good, absent');
});

test("mistakes of the file are shown with their lines", async () => {
  const command = commandWith("receivers:\n  - name: One\n    url: https://a.example\n");
  const { status, stderr } = await command();
  expect(status).toBe(1);
  expect(stderr).toContain("line 2: receiver 1, name: must be 1 to 40");
});

/**
 * Operators' commands to a balancer.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { CommandAnswer, EdgeCommand } from "../../shared/control/command.ts";
import { writeExplanation } from "../../shared/control/explanation.ts";
import type { Acme } from "../acme/acme.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { Router } from "../routing/router.ts";
import { explainHead } from "./explain.ts";

export async function handleCommand(
  command: EdgeCommand,
  parts: {
    readonly router: Router;
    readonly discovery: Pick<Discovery, "view" | "storeHealth" | "isRecalled">;
    readonly clock: Clock;
    /** Undefined without CT_ACME_DOMAINS. */
    readonly acme: Pick<Acme, "renew"> | undefined;
  },
): Promise<CommandAnswer> {
  switch (command.kind) {
    case "explain": {
      const detail = writeExplanation(await explainHead(command.head, command.holder, parts));
      return { outcome: "done", message: "explained", detail };
    }
    case "places": {
      const detail = command.keys.map((key) => parts.discovery.view.ring.place(key));
      return { outcome: "done", message: "looked up", detail };
    }
    case "renew-certificate": {
      const problem = parts.acme === undefined ? "off" : parts.acme.renew();
      return problem === undefined
        ? { outcome: "done", message: "the certificate is being ordered" }
        : { outcome: "refused", message: WHY_NOT_RENEWED[problem] };
    }
    case "suspend":
    case "resume":
    case "drain":
    case "migrate-idle":
    case "end-session":
    case "remove-peer":
    case "lock-session":
      return { outcome: "refused", message: "this command is for workers, not balancers" };
  }
}

const WHY_NOT_RENEWED = {
  off: "this balancer obtains no certificate: CT_ACME_DOMAINS is not set",
  "not leading": "another balancer leads the orders of certificates",
  busy: "an order is under way",
  "too soon":
    "orders have failed, and the authority allows no other one yet; the log and ct-edge certificate have the reason and the time",
};

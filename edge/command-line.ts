/** The command line of `ct-edge`. Without a command it starts the edge. */
import { Command, Option } from "commander";
import { VERSION } from "../shared/process/version.ts";
import { settingOptions } from "../shared/settings/read-settings.ts";
import { certificateCommand } from "./commands/cluster/certificate.ts";
import { eventsCommand } from "./commands/cluster/events.ts";
import { explainCommand } from "./commands/cluster/explain.ts";
import { listCommand } from "./commands/cluster/list.ts";
import { lockCommand } from "./commands/cluster/lock.ts";
import { policyCommand } from "./commands/cluster/policy.ts";
import { rebalanceCommand } from "./commands/cluster/rebalance.ts";
import { removeCommand } from "./commands/cluster/remove.ts";
import { sessionsCommand } from "./commands/cluster/sessions.ts";
import { signOutCommand } from "./commands/cluster/sign-out.ts";
import { simulateCommand } from "./commands/cluster/simulate.ts";
import { topCommand } from "./commands/cluster/top.ts";
import { usageCommand } from "./commands/cluster/usage.ts";
import { verifyCommand } from "./commands/cluster/verify.ts";
import { webhooksCommand } from "./commands/cluster/webhooks.ts";
import { workerCommand } from "./commands/cluster/worker.ts";
import { auditCommand } from "./commands/machine/audit.ts";
import { autoscaleCommand } from "./commands/machine/autoscale.ts";
import { checkCommand } from "./commands/machine/check.ts";
import { clientsCommand } from "./commands/machine/clients.ts";
import { licenseCommand } from "./commands/machine/license.ts";
import { logsCommand } from "./commands/machine/logs.ts";
import { processCommands } from "./commands/machine/processes.ts";
import { psCommand } from "./commands/machine/ps.ts";

/** `run` starts the edge with the parsed flags. */
export function edgeProgram(run: (flags: Record<string, unknown>) => Promise<void>): Command {
  const start = new Command("start")
    .description(
      "Starts the edge on this machine: one balancer, its workers and an embedded store.",
    )
    .allowExcessArguments(false)
    .action(run);
  for (const option of settingOptions("edge")) start.addOption(option);
  start.addOption(
    new Option(
      "--replace",
      "Stop the running edge of the data directory first, instead of failing.",
    ),
  );

  const program = new Command("ct-edge")
    .description(
      "Starts an edge for live collaborative coding, and inspects and controls a running one.",
    )
    .version(VERSION)
    .addCommand(start, { isDefault: true })
    .addCommand(listCommand())
    .addCommand(sessionsCommand())
    .addCommand(removeCommand())
    .addCommand(signOutCommand())
    .addCommand(lockCommand("lock"))
    .addCommand(lockCommand("unlock"))
    .addCommand(topCommand())
    .addCommand(eventsCommand())
    .addCommand(certificateCommand())
    .addCommand(usageCommand())
    .addCommand(explainCommand())
    .addCommand(simulateCommand())
    .addCommand(clientsCommand())
    .addCommand(psCommand())
    .addCommand(logsCommand())
    .addCommand(licenseCommand())
    .addCommand(checkCommand())
    .addCommand(verifyCommand())
    .addCommand(policyCommand())
    .addCommand(webhooksCommand())
    .addCommand(auditCommand())
    .addCommand(workerCommand("suspend"))
    .addCommand(workerCommand("drain"))
    .addCommand(workerCommand("resume"))
    .addCommand(rebalanceCommand())
    .addCommand(autoscaleCommand())
    .addHelpText("after", () => `\nThe default command is start:\n\n${start.helpInformation()}`);
  for (const command of processCommands()) program.addCommand(command);
  return program;
}

#!/usr/bin/env node
/**
 * `ct-edge`: the command line. Without the name of a command it starts the edge on this machine.
 */
import { Command } from "commander";
import { settingOptions } from "../shared/config.ts";
import { VERSION } from "../shared/version.ts";
import { clientsCommand } from "./commands/clients.ts";
import { eventsCommand } from "./commands/events.ts";
import { listCommand } from "./commands/list.ts";
import { sessionsCommand } from "./commands/sessions.ts";
import { runEdge } from "./start-edge.ts";

const start = new Command("start")
  .description("Starts the edge on this machine: one balancer, its workers and an embedded store.")
  .allowExcessArguments(false)
  .action(runEdge);
for (const option of settingOptions("edge")) start.addOption(option);

const program = new Command("ct-edge")
  .description("Starts an edge for live collaborative coding, and looks into one that runs.")
  .version(VERSION)
  .addCommand(start, { isDefault: true })
  .addCommand(listCommand())
  .addCommand(sessionsCommand())
  .addCommand(eventsCommand())
  .addCommand(clientsCommand())
  .addHelpText("after", () => `\nWithout a command it starts:\n\n${start.helpInformation()}`);
await program.parseAsync();

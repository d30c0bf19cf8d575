#!/usr/bin/env node
/**
 * `ct-edge`: the command line. Without the name of a command it starts the edge on this machine.
 */
import { edgeProgram } from "./command-line.ts";
import { runEdge } from "./start/start-edge.ts";

await edgeProgram(runEdge).parseAsync();

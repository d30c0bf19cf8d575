#!/usr/bin/env node
/**
 * The program `ct-edge`.
 */
import { edgeProgram } from "./command-line.ts";
import { runEdge } from "./start/start-edge.ts";

await edgeProgram(runEdge).parseAsync();

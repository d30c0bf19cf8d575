/** `npm run docs`: writes the list of metrics, from their declaration. */
import { writeFileSync } from "node:fs";
import { metricsPage } from "../shared/metrics/metric-docs.ts";

writeFileSync(new URL("metrics.md", import.meta.url), metricsPage());

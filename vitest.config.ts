import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take longest whatever their size: begun at the end, the last one would run alone. */
const LONG =
  /\/test\/(e2e|model|packages)\/|\/(redis-(failures|sentinel)|delivery|receivers-watch|browser-cases)\.test\.ts$/;
/**
 * Files that the list below includes but that need Redis or a process. They are a project of their own; files in no list are the
 * project "services".
 */
const SERVICES = [
  "test/edge/{check,clients,command-line,containers,webhooks,with-store}.test.ts",
  "test/shared/cluster/log-stream.test.ts",
  "test/worker/{audit/checkpoints,webhooks/docs}.test.ts",
  "test/shared/store/{old-names,records,register,server,redis,redis-cost,redis-heartbeats,redis-ownership,redis-target,redis-values}.test.ts",
];
/** Files that need no service and start no process, without those above: `npm run test:unit`. */
const UNITS = [
  "test/{structure,word-list,contributors-documents}.test.ts",
  "test/web/{carets,documents/!(shared-documents),files/!(workspaces|shared-files),model/*}.test.ts",
  "test/edge/!(idle).test.ts",
  "test/shared/!(statsd).test.ts",
  "test/{edge,shared}/*/**/!(redis-sentinel|redis-failures).test.ts",
  "test/worker/{balancers,clients,dashboard,login,operators,session-moves,start,usage}/**/*.test.ts",
  "test/worker/sessions/{peers,wire}/*.test.ts",
  "test/worker/sessions/{peer,fence,idle,relay,resume-ticket,parts}.test.ts",
  "test/worker/sessions/transport/!(socket).test.ts",
  "test/worker/webhooks/{signature,receiver-addresses,receivers-file,docs,lanes,outbox}.test.ts",
  "test/worker/policy/{session-limits,access}.test.ts",
  "test/worker/{activity,audit}/*.test.ts",
  "test/worker/{empty,tokens}.test.ts",
  "test/worker/api/{metrics,misfits,paths,session-hints}.test.ts",
  "test/balancer/{admin/explain*,discovery,downstream,http1,limits/limiter,logs,routing,websocket}{/*,}.test.ts",
  "test/balancer/proxy/{retry-policy,delayed-refusal,misdirected,retry-queue}.test.ts",
  "test/balancer/upstreams/{health,link-metrics}.test.ts",
  "test/balancer/transport/{read-buffers,proxy-header,client-hello}.test.ts",
  "test/balancer/acme/{schedule,acme,histories,kept}.test.ts",
  "test/bench/!(paced-load|run-benchmark).test.ts",
];

/**
 * Files that replace modules or what is global, that measure the memory of their process, or whose connections of the protocol's
 * package have timers for a minute: each has a process of its own.
 */
const ISOLATED = [
  "test/web/{documents/shared-documents,files/shared-files,session/*}.test.ts",
  "test/worker/{api/client-page,policy/cases,sessions/unmodified}.test.ts",
  "test/{model,model-moves,robustness}/*.test.ts",
  "test/balancer/{acme/ca-jobs,proxy/exchange,server/listener,server/warm-up,transport/accepted-reads}.test.ts",
  "test/edge/idle.test.ts",
  "test/shared/{statsd,turn}.test.ts",
  "test/shared/store/{redis-failures,redis-sentinel}.test.ts",
];

/**
 * The first takes more of the kernel's memory for TCP (net.ipv4.tcp_mem) than from which on it closes the windows of all connections
 * of the machine: slow readers of other files would look as if they had stopped. The second has readers that must not stop for a
 * second.
 */
const ALONE = ["test/robustness/unread-responses.test.ts", "test/robustness/slow-reader.test.ts"];

/** A process goes on with another file only if that is the next one, so the files of a project follow each other. */
const PROJECTS = ["isolated", "services", "services of units", "units"];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId, project }: TestSpecification): number =>
      PROJECTS.indexOf(project.name) * 2 + (LONG.test(moduleId) ? 0 : 1);
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    // Whole processes and RSA keys: slow machines need room, a hanging test must still end. Nothing is measured by it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // On two processors: end-to-end files start five processes each, which wait for half of their time.
    maxWorkers: 4,
    sequence: { sequencer: LongFirst },
    restoreMocks: true,
    setupFiles: "test/support/setup.ts",
    // Files of a process share what they import, unless they are isolated: half of a small file's time is its imports.
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          name: "services",
          include: ["test/**/*.test.ts"],
          exclude: [...UNITS, ...ISOLATED, ...ALONE, "**/node_modules/**"],
        },
      },
      {
        extends: true,
        test: { name: "services of units", include: SERVICES },
      },
      {
        extends: true,
        test: {
          name: "units",
          include: UNITS,
          exclude: [...SERVICES, ...ISOLATED, "**/node_modules/**"],
          // Whose helpers then refuse to start a process.
          env: { TEST_UNITS: "on" },
        },
      },
      {
        extends: true,
        test: { name: "isolated", include: ISOLATED, exclude: ALONE, isolate: true },
      },
      // After the others, one after the other.
      {
        extends: true,
        test: {
          name: "alone",
          include: ALONE,
          isolate: true,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

/** Names, labels and ports that the objects share. */
import {
  builtin,
  call,
  type Expression,
  equals,
  literal,
  not,
  value,
} from "../model/expression.ts";
import {
  type Fields,
  fields,
  inChart,
  type Node,
  type Part,
  spread,
  text,
  when,
} from "../model/node.ts";
import type { Program } from "../values/program.ts";

export const TRAFFIC_PORT = 1080;
export const STATUS_PORT = 1081;
export const WORKER_PORT = 3001;

/** One object, and in the chart the condition on which it exists. */
export interface KitObject {
  readonly when?: Expression;
  readonly body: Node;
}

/** Named templates of the chart. */
export const FULLNAME: Expression = {
  kind: "named",
  name: "codetogether-edge.fullname",
  expression: call("default", builtin("Release.Name"), value("fullnameOverride")),
};

const REPOSITORY = value("image.repository");

export const IMAGE: Expression = {
  kind: "named",
  name: "codetogether-edge.image",
  expression: call(
    "or",
    call(
      "and",
      value("image.digest"),
      call("printf", literal("%s@%s"), REPOSITORY, value("image.digest")),
    ),
    call(
      "printf",
      literal("%s:%s"),
      REPOSITORY,
      call("default", builtin("Chart.AppVersion"), value("image.tag")),
    ),
  ),
};

export const NAMED = [FULLNAME, IMAGE] as const;

/** In kustomize's base the name is short: the namespace is the edge's own. In the chart it begins with the release. */
export function nameExpression(short: string): Expression {
  const inChart = call("printf", literal(`%s-${short}`), FULLNAME);
  return { kind: "fixed", inBase: short, inChart };
}

export function name(short: string): Part {
  return text(nameExpression(short));
}

/** What selects the pods of one program, or of all. */
export function selectorLabels(program?: Program): Fields {
  return fields(
    { "app.kubernetes.io/name": "codetogether" },
    ...(program === undefined ? [] : [{ "app.kubernetes.io/component": program }]),
    inChart({ "app.kubernetes.io/instance": text(builtin("Release.Name")) }),
  );
}

export function metadata(options: {
  /** A short name, or a part for another one. */
  readonly name: string | Part;
  readonly program?: Program;
  readonly labels?: readonly Part[];
  readonly annotations?: readonly Part[];
}): Fields {
  const chart = call("printf", literal("%s-%s"), builtin("Chart.Name"), builtin("Chart.Version"));
  const { labels = [], annotations = [] } = options;
  return fields(
    { name: typeof options.name === "string" ? name(options.name) : options.name },
    {
      labels: fields(
        ...selectorLabels(options.program).parts,
        inChart({
          "app.kubernetes.io/managed-by": text(builtin("Release.Service")),
          "helm.sh/chart": text(chart),
        }),
        spread("commonLabels"),
        ...labels,
      ),
    },
    ...annotationFields(annotations),
  );
}

/** No `annotations:` without any: an empty field would be null. */
function annotationFields(annotations: readonly Part[]): Part[] {
  const conditions = annotations.map(({ form }) => {
    if (form.is === "when") return form.condition;
    if (form.is === "spread") return value(form.path);
    throw new Error(`annotations cannot be "${form.is}"`);
  });
  const common = value("commonAnnotations");
  const any = conditions.length === 0 ? common : call("or", common, ...conditions);
  return [when(any, { annotations: fields(spread("commonAnnotations"), ...annotations) })];
}

export function isMode(mode: "keda" | "hpa"): Expression {
  return equals("autoscaling.mode", mode);
}

export const IS_AUTOSCALED: Expression = not(equals("autoscaling.mode", "none"));

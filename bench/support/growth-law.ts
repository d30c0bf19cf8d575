/** How a figure grows with a size: least squares over a few measured points. Pure. */

export interface Point {
  readonly size: number;
  readonly figure: number;
}

/** figure = base + perUnit × size. */
interface Line {
  readonly base: number;
  readonly perUnit: number;
}

/** NaN with fewer than two sizes. */
export function fitLine(points: readonly Point[]): Line {
  const meanSize = mean(points.map(({ size }) => size));
  const meanFigure = mean(points.map(({ figure }) => figure));
  let covariance = 0;
  let variance = 0;
  for (const { size, figure } of points) {
    covariance += (size - meanSize) * (figure - meanFigure);
    variance += (size - meanSize) ** 2;
  }
  const perUnit = variance === 0 ? Number.NaN : covariance / variance;
  return { base: meanFigure - perUnit * meanSize, perUnit };
}

/** figure = factor × size^exponent: 0 does not grow, 1 grows with the size, 2 with its square. */
interface PowerLaw {
  readonly factor: number;
  readonly exponent: number;
}

/** A line through the logarithms, which weighs all sizes alike. Sizes and figures must be above 0. */
export function fitPowerLaw(points: readonly Point[]): PowerLaw {
  const { base, perUnit } = fitLine(
    points.map(({ size, figure }) => ({ size: Math.log(size), figure: Math.log(figure) })),
  );
  return { factor: Math.exp(base), exponent: perUnit };
}

export function describePowerLaw({ factor, exponent }: PowerLaw): string {
  return `${factor.toPrecision(2)} × n^${exponent.toFixed(2)}`;
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

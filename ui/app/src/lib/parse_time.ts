const UNITS: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };

/** Milliseconds of `now-15m`, ISO 8601 or milliseconds since 1970. */
export function parse_time(text: string, now: number): number | null {
  const relative = /^now(?:\s*([-+])\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w))?$/.exec(text.trim());
  if (relative) {
    const shift = relative[2] ? Number(relative[2]) * (UNITS[relative[3] ?? "s"] ?? 0) : 0;
    return relative[1] === "+" ? now + shift : now - shift;
  }
  if (/^\d{16,19}$/.test(text.trim())) return Number(BigInt(text.trim()) / 1_000_000n);
  if (/^\d{12,14}$/.test(text.trim())) return Number(text);
  if (/^\d{9,10}(\.\d+)?$/.test(text.trim())) return Number(text) * 1e3;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

import type { Evidence } from "../../lib/types";

/** Whether a comparison found nothing that is worth a look. */
export const found_nothing = (evidence: Evidence): boolean =>
  !evidence.origin && [evidence.log_patterns, evidence.attributes, evidence.deploys].every((list) => !list?.length);

/** The one sentence above everything else. */
export function headline(evidence: Evidence): string {
  if (evidence.summary) return evidence.summary;
  if (evidence.spans_read === 0 && evidence.logs_read === 0) return "There is nothing to compare: no span and no log record in this range and the hour before it.";
  if (found_nothing(evidence)) return "Nothing stands out against the hour before.";
  const found = [
    evidence.deploys?.length ? `${evidence.deploys.length} ${evidence.deploys.length === 1 ? "deploy" : "deploys"}` : "",
    evidence.log_patterns?.length ? `${evidence.log_patterns.length} log ${evidence.log_patterns.length === 1 ? "pattern" : "patterns"} that grew` : "",
    evidence.attributes?.length ? `${evidence.attributes.length} ${evidence.attributes.length === 1 ? "attribute" : "attributes"} that failed requests share` : "",
  ].filter(Boolean);
  return `No service stands out, but this changed: ${found.join(", ").replace(/, ([^,]*)$/, " and $1")}.`;
}

/** An id or a seq: a decimal number up to 2^64 as a string, because a `number` loses digits above 2^53. */
export type Id = string;

/** Compares two decimal numbers. */
export function compareIds(left: Id, right: Id): number {
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}

/** Returns the larger of two decimal numbers. */
export function laterId(left: Id, right: Id): Id {
  return compareIds(left, right) < 0 ? right : left;
}

/** Returns a decimal number with 20 digits, which sorts as text as it does as a number. */
export function sortable(id: Id): string {
  return id.padStart(20, "0");
}

/** Returns a random id for a message, so that a repeated send is stored once. */
export function newClientId(): string {
  // `crypto.randomUUID` exists in secure contexts only; a page of a test server may have none.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Where a reader stands: `EPOCH:SEQ`, or `EPOCH:SEQ~` when it lacks the beginning of open messages.

/** The last event a reader has; everything after it is owed. Seq 0 matches any epoch. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
  readonly partial: boolean;
}

/** The epoch of a topic that does not exist. */
export const NOWHERE = '00000000';

/** Undefined: the text is no position. */
export function parsePosition(text: string | null | undefined): Position | undefined {
  const found = /^([\w-]{8,32}):(0|[1-9]\d{0,18})(~?)$/.exec(text ?? '');
  return found ? { epoch: found[1]!, seq: Number(found[2]), partial: found[3] !== '' } : undefined;
}

export function formatPosition({ epoch, seq, partial }: Position): string {
  return `${epoch}:${seq}${partial ? '~' : ''}`;
}

// What a client is told where something is not done for it.

/** A Kafka error code with the words for it, which newer versions of most answers carry. */
export interface Refusal {
  readonly errorCode: number
  readonly errorMessage: string
}

export function refusal(errorCode: number, errorMessage: string): Refusal {
  return { errorCode, errorMessage }
}

export function isRefusal<T extends object>(value: T | Refusal): value is Refusal {
  return 'errorCode' in value && 'errorMessage' in value
}

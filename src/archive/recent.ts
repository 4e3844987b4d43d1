// What was made lately, by name, so that it need not be made again: up to a weight in all, and nothing that failed.

interface Made<T> {
  readonly value: Promise<T>
  /** 0 until it is made. */
  weight: number
}

export class Recent<T> {
  readonly #maxWeight: number
  readonly #weightOf: (value: T) => number
  /** The last used at the end. */
  readonly #made = new Map<string, Made<T>>()
  #weight = 0

  constructor(maxWeight: number, weightOf: (value: T) => number) {
    this.#maxWeight = maxWeight
    this.#weightOf = weightOf
  }

  async get(name: string, make: () => Promise<T>): Promise<T> {
    const made = this.#made.get(name) ?? { value: make(), weight: 0 }
    this.#made.delete(name)
    this.#made.set(name, made)
    try {
      const value = await made.value
      if (made.weight === 0 && this.#made.get(name) === made) this.#weigh(made, value)
      return value
    } catch (error) {
      if (this.#made.get(name) === made) this.#made.delete(name)
      throw error
    }
  }

  #weigh(made: Made<T>, value: T): void {
    made.weight = this.#weightOf(value)
    this.#weight += made.weight
    for (const [name, old] of this.#made) {
      if (this.#weight <= this.#maxWeight) return
      this.#made.delete(name)
      this.#weight -= old.weight
    }
  }

  clear(): void {
    this.#made.clear()
    this.#weight = 0
  }
}

// A vitest reporter: names what was skipped, fails the run when a test file lies where no project collects it, and prints
// as the very last line of the process `N passed, N failed, N skipped`.

import { globSync } from 'node:fs'
import { join } from 'node:path'
import type { Reporter, TestModule, Vitest } from 'vitest/node'

export class ClosingLine implements Reporter {
  #vitest: Vitest | undefined
  #line = '0 passed, 0 failed, 0 skipped'

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
    // Servers are stopped after the last report, and may have something to say.
    process.once('exit', () => console.log(this.#line))
  }

  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): Promise<void> {
    const uncollected = await this.#uncollected()
    for (const file of uncollected) console.error(`no project runs ${file}`)
    if (uncollected.length > 0) process.exitCode = 1
    const tests = modules.flatMap(module => [...module.children.allTests()])
    const passed = tests.filter(test => test.result().state === 'passed')
    const failed = tests.filter(test => test.result().state === 'failed')
    const skipped = tests.filter(test => !passed.includes(test) && !failed.includes(test))
    for (const test of skipped) console.log(`skipped: ${test.fullName}`)
    // A file that cannot be loaded, a hook that throws or a stray rejection fails the run without failing a test.
    const suites = modules.flatMap(module => [module, ...module.children.allSuites()])
    const broken = suites.filter(suite => suite.errors().length > 0)
    const failures = failed.length + broken.length + unhandledErrors.length + uncollected.length
    this.#line = `${passed.length} passed, ${failures} failed, ${skipped.length} skipped`
  }

  /** Test files that would never run, whatever the filters of this run are. */
  async #uncollected(): Promise<string[]> {
    const vitest = this.#vitest
    if (vitest === undefined || vitest.config.project.length > 0) return []
    const collected = new Set((await vitest.globTestSpecifications()).map(({ moduleId }) => moduleId))
    const files = globSync('{src,connectors,test,bench}/**/*.test.ts', { cwd: vitest.config.root })
    return files.filter(file => !collected.has(join(vitest.config.root, file)))
  }
}

// A broker that has nothing but what was captured, for a pipeline without a cluster.
import type { PipelineOptions } from '../../src/pipeline/pipeline.ts'

export const noGaps: PipelineOptions['gaps'] = {
  look: async () => {},
  lookAgain: async () => {},
  due: () => [],
  behind: () => [],
  silent: () => [],
  begin: async () => undefined,
  seenEnd: () => 0,
  sealed: () => {}
}

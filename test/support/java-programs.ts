// Programs of the tests in Java: compiled against a version of Kafka's client, once, into the cache.
import { fileURLToPath } from 'node:url'
import { cached, recipeOf } from './cache.ts'
import { runOrThrow } from './child.ts'
import type { Missing } from './found.ts'
import { findProgram, isMissing, reasonOf } from './found.ts'
import type { KafkaJars } from './kafka-jars.ts'

/**
 * The class path of programs whose sources lie in `folder`, or the reason why they cannot be had here. `name` is that of a
 * folder of the cache.
 */
export async function findJavaPrograms(
  name: string,
  folder: URL,
  sources: readonly string[],
  jars: KafkaJars | Missing
): Promise<KafkaJars | Missing> {
  if (isMissing(jars)) return jars
  if ((await findProgram('javac')) === undefined) return { missing: 'no Java compiler (javac) on PATH' }
  const paths = sources.map(source => fileURLToPath(new URL(source, folder)))
  const { classPath } = jars
  try {
    const recipe = `${await recipeOf(paths)} ${classPath}`
    const classes = await cached(name, recipe, async folder => {
      await runOrThrow('javac', ['-nowarn', '-Xlint:none', '-proc:none', '-cp', classPath, '-d', folder, ...paths])
    })
    return { ...jars, classPath: `${classPath}:${classes}` } // in this order: the archived classes are those of a path that begins so
  } catch (error) {
    return { missing: `${name}: ${reasonOf(error)}` }
  }
}

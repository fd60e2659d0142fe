// Compiles texts as a browser would: Tint checks each and Dawn makes its pipeline on the Vulkan driver at hand.
//
//     node tint.mjs SECONDS FILE...
//
// The files are texts that the crate writes where GRADUS_SHADERS says, SECONDS is what a pipeline may take. Needs the
// package `webgpu`, which has Dawn inside. The exit status is 0 if every text compiles in that time.
import { create, globals } from 'webgpu';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

Object.assign(globalThis, globals);
const [seconds, ...files] = process.argv.slice(2);
const gpu = create(['backend=vulkan']);
const adapter = await gpu.requestAdapter();
if (!adapter) {
  console.error('tint: no Vulkan adapter');
  process.exit(2);
}
const device = await adapter.requestDevice();
console.log(`tint: ${adapter.info.vendor} ${adapter.info.device || adapter.info.architecture} ${adapter.info.description}`);

/** The settings of a text's first line, `// name=value name=value`. */
function settings(text) {
  const words = text.slice(0, text.indexOf('\n')).split(' ').slice(1);
  return Object.fromEntries(words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
}

/** `a:1,b:2` as pairs. */
const pairs = (list) => list.split(',').filter(Boolean).map((pair) => pair.split(':'));

async function compile(text) {
  const { bindings, constants } = settings(text);
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code: text });
  const { messages } = await module.getCompilationInfo();
  const entries = pairs(bindings).map(([binding, type]) => ({ binding: Number(binding), visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
  const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
  const values = Object.fromEntries(pairs(constants).map(([name, value]) => [name, Number(value)]));
  let failure = null;
  try {
    await device.createComputePipelineAsync({ layout, compute: { module, entryPoint: 'main', constants: values } });
  } catch (error) {
    failure = error.message;
  }
  const error = await device.popErrorScope();
  return [...messages].map((m) => `${m.type} ${m.lineNum}:${m.linePos} ${m.message}`).concat(failure ?? error?.message ?? []);
}

let bad = 0;
for (const file of files) {
  const begun = performance.now();
  const messages = await compile(readFileSync(file, 'utf8'));
  const took = (performance.now() - begun) / 1000;
  if (took > Number(seconds)) messages.push(`took ${took.toFixed(1)} s`);
  for (const message of messages) console.log(`${basename(file)}: ${message}`);
  bad += messages.length > 0;
}
console.log(`tint: ${files.length} texts, ${bad} with messages`);
process.exit(bad || files.length === 0 ? 1 : 0);

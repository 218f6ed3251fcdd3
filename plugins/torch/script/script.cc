// The TorchScript half of the PyTorch plug-in: the only code that sees PyTorch's headers.
//
// A module is loaded from memory, put into evaluation mode and frozen: its submodules are
// inlined and its weights become constants of one graph. Where PyTorch cannot freeze it
// (it changes its own attributes), it is inlined only, and one run waits for another.
//
// The graph is run by an executor of its own that neither profiles nor recompiles, so the
// first runs are as fast as all others, and no process-wide setting is touched. What the
// graph would print is taken out, what it would fork is run in line.
//
// Convolutions in oneDNN's own order are up to twice as fast on many rows and take three
// times as long on one, where bringing the row into that order costs more than the rest.
// So such a module has a second graph, without them, for runs of one row. A module without
// convolutions is not optimised beyond freezing: PyTorch would take the bias out of its
// matrix products, which then take 8 % longer.
//
// Every function here is a border: nothing is thrown across it.
#include "script.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inline_fork_wait.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace jit = torch::jit;

// What runs: a graph, and the object that is its first input.
struct script_program {
  c10::IValue self;
  std::shared_ptr<jit::Graph> graph;
  std::optional<jit::GraphExecutor> executor;
};

struct script_module {
  script_program main;
  std::optional<script_program> single;  // for one row; empty: main is as good
  std::optional<c10::FunctionSchema> schema;
  std::vector<script_argument> arguments;
  std::vector<size_t> positions;  // of the tensor arguments, in the schema
  // One per position of the schema but self: the index of the input, or -1 = default.
  std::vector<int64_t> sources;
  std::vector<bool> is_written;   // inputs that a graph writes into
  std::deque<std::string> texts;  // whose addresses stay
  std::set<std::string> keys;     // of dictionaries that were returned
  std::vector<const char *> fields;
  script_facts facts{};
  std::mutex lock;  // guards keys, and the run of a module that is not frozen
};

namespace {

// PyTorch warns on stderr; within a call of ours, in this thread, it does not.
class Silence : public c10::WarningHandler {
 public:
  void process(const c10::Warning &) override {}
};

// What holds while PyTorch works for us, in this thread.
class Scope {
 public:
  Scope() : warnings_(&silence_) {}

 private:
  Silence silence_;
  c10::WarningUtils::WarningHandlerGuard warnings_;
  c10::InferenceMode inference_;
};

// Reads out of memory that stays ours.
class Memory : public caffe2::serialize::ReadAdapterInterface {
 public:
  Memory(const uint8_t *data, size_t size) : data_(data), size_(size) {}
  size_t size() const override { return size_; }
  size_t read(uint64_t position, void *buffer, size_t n, const char *) const override {
    if (position >= size_) {
      return 0;
    }
    n = std::min(n, size_ - static_cast<size_t>(position));
    std::memcpy(buffer, data_ + position, n);
    return n;
  }

 private:
  const uint8_t *data_;
  size_t size_;
};

vonk_status fail(script_message *message, vonk_status status, const char *text) {
  const size_t length = std::min(std::strlen(text), sizeof message->text - 1);
  // What says why is at the end of a long traceback.
  std::memcpy(message->text, text + std::strlen(text) - length, length);
  message->text[length] = '\0';
  return status;
}

// Runs body and turns whatever is thrown into `status` and a message.
template <typename Body>
vonk_status guard(vonk_status status, script_message *message, Body body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError &error) {
    return fail(message, VONK_NOMEM, error.what_without_backtrace());
  } catch (const c10::Error &error) {
    const char *text = error.what_without_backtrace();
    const bool is_memory = std::strstr(text, "DefaultCPUAllocator") != nullptr;
    return fail(message, is_memory ? VONK_NOMEM : status, text);
  } catch (const std::bad_alloc &) {
    return fail(message, VONK_NOMEM, "out of memory");
  } catch (const std::exception &error) {
    return fail(message, status, error.what());
  } catch (...) {
    return fail(message, status, "an unknown exception");
  }
}

// --- opening ------------------------------------------------------------------------

// Takes out what the graph would print.
void remove_prints(jit::Block *block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    jit::Node *node = *it++;
    for (jit::Block *inner : node->blocks()) {
      remove_prints(inner);
    }
    if (node->kind() == c10::prim::Print || node->kind() == c10::aten::warn) {
      node->destroy();
    }
  }
}

// Operators of other libraries, and those that touch files: the text was searched for
// them (code.c), the graph is what will run.
void check_nodes(const jit::Block *block) {
  static const std::set<std::string> namespaces = {
      "aten",   "prim",   "quantized",        "_quantized",
      "mkldnn", "onednn", "mkldnn_prepacked", "sparse"};
  for (const jit::Node *node : block->nodes()) {
    const std::string name = node->kind().toQualString();
    const std::string space = name.substr(0, name.find(':'));
    TORCH_CHECK(namespaces.count(space) != 0 && name != "aten::save" &&
                    name != "aten::from_file" && name.rfind("prim::rpc_", 0) != 0,
                "it uses the operator ", name, ", which vonk does not run");
    for (const jit::Block *inner : node->blocks()) {
      check_nodes(inner);
    }
  }
}

// The module with its weights as constants. Empty if PyTorch cannot freeze it.
std::optional<jit::Module> make_frozen(const jit::Module &loaded) {
  try {
    return jit::freeze(loaded);
  } catch (const std::exception &) {
    return std::nullopt;
  }
}

// A frozen module, rewritten for runs alone where PyTorch can: on the CPU, convolutions
// work on weights in oneDNN's own order.
std::optional<jit::Module> make_optimised(const jit::Module &loaded) {
  try {
    jit::Module frozen = jit::freeze(loaded);
    return jit::optimize_for_inference(frozen);
  } catch (const std::exception &) {
    return std::nullopt;
  }
}

bool uses_onednn(const jit::Block *block) {
  for (const jit::Node *node : block->nodes()) {
    const std::string name = node->kind().toQualString();
    if (name.find("mkldnn") != std::string::npos) {
      return true;
    }
    for (const jit::Block *inner : node->blocks()) {
      if (uses_onednn(inner)) {
        return true;
      }
    }
  }
  return false;
}

script_program make_program(const jit::Module &used) {
  script_program program;
  program.self = used._ivalue();
  const auto graph = used.get_method("forward").graph()->copy();
  jit::Inline(*graph);
  check_nodes(graph->block());
  jit::InlineForkWait(graph);
  remove_prints(graph->block());
  jit::EliminateDeadCode(graph);
  program.graph = graph;
  program.executor.emplace(graph, "forward", jit::ExecutorExecutionMode::SIMPLE);
  return program;
}

void make_programs(script_module &module, const jit::Module &loaded) {
  const std::optional<jit::Module> frozen = make_frozen(loaded);
  module.facts.is_frozen = frozen ? 1 : 0;
  module.main = make_program(frozen ? *frozen : loaded);
  const std::optional<jit::Module> optimised = make_optimised(loaded);
  if (optimised && uses_onednn(optimised->get_method("forward").graph()->block())) {
    module.single = std::move(module.main);
    module.main = make_program(*optimised);
  }
}

const char *keep(script_module &module, const std::string &text) {
  module.texts.push_back(text);
  return module.texts.back().c_str();
}

bool is_tensor(const c10::TypePtr &type) {
  return type->kind() == c10::TypeKind::TensorType;
}

bool is_optional_tensor(const c10::TypePtr &type) {
  return type->kind() == c10::TypeKind::OptionalType &&
         is_tensor(type->expectRef<c10::OptionalType>().getElementType());
}

// Of forward; there since the module was opened.
const c10::FunctionSchema &schema_of(const script_module &module) {
  TORCH_CHECK(module.schema.has_value(), "the module has no forward");
  return *module.schema;
}

vonk_status read_arguments(script_module &module, script_message *message) {
  const auto &arguments = schema_of(module).arguments();
  for (size_t i = 1; i < arguments.size(); ++i) {
    const c10::Argument &argument = arguments[i];
    const bool is_optional = argument.default_value().has_value();
    if (!is_tensor(argument.type()) && !is_optional_tensor(argument.type())) {
      if (is_optional) {
        continue;
      }
      const std::string text = "forward's argument '" + argument.name() +
                               "' is of type " + argument.type()->annotation_str() +
                               ": vonk can give it tensors only: export a module whose "
                               "forward takes tensors";
      return fail(message, VONK_UNSUPPORTED, text.c_str());
    }
    script_argument made{};
    made.name = keep(module, argument.name());
    made.is_optional = is_optional ? 1 : 0;
    made.position = static_cast<uint32_t>(i - 1);
    module.arguments.push_back(made);
    module.positions.push_back(i - 1);
  }
  module.facts.n_arguments = static_cast<uint32_t>(module.arguments.size());
  module.facts.arguments = module.arguments.data();
  return VONK_OK;
}

bool all_tensors(const std::vector<c10::TypePtr> &types) {
  return std::all_of(types.begin(), types.end(), is_tensor);
}

vonk_status read_returns(script_module &module, script_message *message) {
  const auto &returns = schema_of(module).returns();
  const c10::TypePtr type =
      returns.size() == 1 ? returns[0].type() : c10::NoneType::get();
  script_facts &facts = module.facts;
  if (is_tensor(type)) {
    facts.returns = SCRIPT_TENSOR;
    return VONK_OK;
  }
  if (const auto tuple = type->cast<c10::TupleType>();
      tuple && !tuple->elements().empty() && all_tensors(tuple->elements().vec())) {
    facts.returns = SCRIPT_TUPLE;
    facts.n_fields = static_cast<uint32_t>(tuple->elements().size());
    if (tuple->schema()) {
      for (const c10::Argument &field : tuple->schema()->arguments()) {
        module.fields.push_back(keep(module, field.name()));
      }
      facts.fields = module.fields.data();
    }
    return VONK_OK;
  }
  if (const auto list = type->cast<c10::ListType>();
      list && is_tensor(list->getElementType())) {
    facts.returns = SCRIPT_LIST;
    return VONK_OK;
  }
  if (const auto dict = type->cast<c10::DictType>();
      dict && is_tensor(dict->getValueType()) &&
      dict->getKeyType()->kind() == c10::TypeKind::StringType) {
    facts.returns = SCRIPT_DICT;
    return VONK_OK;
  }
  const std::string text = "forward returns " + type->annotation_str() +
                           ": a tensor, a tuple or list of tensors, or a dictionary of "
                           "strings to tensors can be used: export a module that returns "
                           "one of these";
  return fail(message, VONK_UNSUPPORTED, text.c_str());
}

void count_weights(script_module &module, const jit::Module &loaded) {
  std::set<const void *> seen;  // shared weights count once
  const auto count = [&](const at::Tensor &tensor) {
    if (!tensor.defined() || !seen.insert(tensor.unsafeGetTensorImpl()).second) {
      return;
    }
    module.facts.weight_bytes += static_cast<int64_t>(tensor.nbytes());
    if (tensor.is_floating_point() || tensor.is_complex() || tensor.is_quantized()) {
      module.facts.n_params += tensor.numel();
    }
  };
  for (const at::Tensor &tensor : loaded.parameters()) {
    count(tensor);
  }
  for (const at::Tensor &tensor : loaded.buffers()) {
    count(tensor);
  }
}

vonk_status fill(script_module &module, const uint8_t *data, size_t size,
                 script_message *message) {
  jit::Module loaded = jit::load(std::make_shared<Memory>(data, size),
                                 c10::Device(c10::kCPU), /*load_debug_files=*/false);
  if (!loaded.find_method("forward")) {
    return fail(message, VONK_UNSUPPORTED,
                "the module has no forward: export one with it");
  }
  loaded.eval();
  module.schema = loaded.get_method("forward").function().getSchema();
  const vonk_status status = read_arguments(module, message);
  if (status != VONK_OK) {
    return status;
  }
  count_weights(module, loaded);
  make_programs(module, loaded);
  return read_returns(module, message);
}

vonk_status open(const uint8_t *data, size_t size, script_module **out,
                 script_message *message) {
  return guard(VONK_MODEL, message, [&] {
    const Scope scope;
    auto module = std::make_unique<script_module>();
    const vonk_status status = fill(*module, data, size, message);
    if (status == VONK_OK) {
      *out = module.release();
    }
    return status;
  });
}

const script_facts *facts(const script_module *module) { return &module->facts; }

// Marks the inputs that a graph writes into.
void find_written(script_module &module, const script_program &program,
                  const uint32_t *arguments, uint32_t n) {
  const jit::AliasDb aliases(program.graph);
  for (uint32_t i = 0; i < n; ++i) {
    const size_t position = module.positions[arguments[i]];
    if (aliases.hasWriters(program.graph->inputs()[position + 1])) {
      module.is_written[i] = true;
    }
  }
}

vonk_status choose(script_module *module, const uint32_t *arguments, uint32_t n,
                   script_message *message) {
  return guard(VONK_MODEL, message, [&] {
    module->sources.assign(schema_of(*module).arguments().size() - 1, -1);
    module->is_written.assign(n, false);
    for (uint32_t i = 0; i < n; ++i) {
      module->sources[module->positions[arguments[i]]] = i;
    }
    find_written(*module, module->main, arguments, n);
    if (module->single) {
      find_written(*module, *module->single, arguments, n);
    }
    return VONK_OK;
  });
}

// --- running ------------------------------------------------------------------------

const at::Tensor &tensor_of(const aten_tensor *handle) {
  return *reinterpret_cast<const at::Tensor *>(handle);
}

// The program for these inputs.
script_program &program_for(script_module &module, const script_call &call) {
  bool is_single = module.single.has_value() && call.n_inputs > 0;
  for (uint32_t i = 0; is_single && i < call.n_inputs; ++i) {
    const at::Tensor &input = tensor_of(call.inputs[i]);
    is_single = input.dim() > 0 && input.size(0) == 1;
  }
  return is_single ? *module.single : module.main;
}

jit::Stack make_stack(const script_module &module, const script_program &program,
                      const script_call &call) {
  jit::Stack stack;
  stack.reserve(module.sources.size() + 1);
  stack.push_back(program.self);
  for (size_t i = 0; i < module.sources.size(); ++i) {
    const int64_t source = module.sources[i];
    if (source < 0) {
      const auto &value = schema_of(module).arguments()[i + 1].default_value();
      TORCH_CHECK(value.has_value(), "argument ", i, " of forward has no default");
      stack.push_back(*value);
      continue;
    }
    const auto index = static_cast<size_t>(source);
    const at::Tensor &input = tensor_of(call.inputs[index]);
    stack.push_back(module.is_written[index] ? input.clone() : input);
  }
  return stack;
}

// What the graph returned, as a row of tensors.
std::vector<at::Tensor> flatten(script_module &module, c10::IValue &&value,
                                const script_call &call) {
  std::vector<at::Tensor> tensors;
  if (value.isTensor()) {
    tensors.push_back(std::move(value).toTensor());
  } else if (value.isTuple()) {
    for (const c10::IValue &element : value.toTupleRef().elements()) {
      tensors.push_back(element.toTensor());
    }
  } else if (value.isTensorList()) {
    tensors = value.toTensorVector();
  } else {
    const auto dict = value.toGenericDict();
    std::vector<std::string> keys;
    if (call.keys != nullptr) {
      keys.assign(call.keys, call.keys + call.n_keys);
    } else {
      for (const auto &entry : dict) {
        keys.push_back(entry.key().toStringRef());
      }
      std::sort(keys.begin(), keys.end());
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      TORCH_CHECK(dict.contains(keys[i]), "the dictionary that forward returns has no '",
                  keys[i], "'");
      tensors.push_back(dict.at(keys[i]).toTensor());
      if (call.names != nullptr && i < call.capacity) {
        const std::lock_guard<std::mutex> hold(module.lock);
        call.names[i] = module.keys.insert(keys[i]).first->c_str();
      }
    }
  }
  return tensors;
}

// A dense tensor on the CPU whose memory is nobody else's: not an input's, not a
// weight's, not another output's.
at::Tensor settle(at::Tensor &&tensor) {
  TORCH_CHECK(tensor.defined(), "forward returned no tensor where it should");
  at::Tensor dense = std::move(tensor);
  if (dense.is_mkldnn() || dense.layout() != c10::kStrided) {
    dense = dense.to_dense();
  }
  TORCH_CHECK(!dense.is_quantized(),
              "forward returns a quantised tensor: dequantise it in the module");
  if (!dense.is_cpu()) {
    dense = dense.cpu();
  }
  if (dense.is_conj() || dense.is_neg()) {
    dense = dense.resolve_conj().resolve_neg();
  }
  if (!dense.is_contiguous()) {
    return dense.contiguous();
  }
  const bool is_ours = dense.use_count() == 1 && dense.storage().use_count() == 1;
  return is_ours ? dense : dense.clone();
}

vonk_status execute(script_module &module, script_call &call) {
  script_program &program = program_for(module, call);
  jit::Stack stack = make_stack(module, program, call);
  {
    std::unique_lock<std::mutex> alone(module.lock, std::defer_lock);
    if (module.facts.is_frozen == 0) {
      alone.lock();
    }
    TORCH_CHECK(program.executor.has_value(), "the module was not made ready");
    program.executor->run(stack);
  }
  TORCH_CHECK(stack.size() == 1, "forward left ", stack.size(), " values");
  c10::IValue value = std::move(stack.back());
  stack.clear();
  std::vector<at::Tensor> tensors = flatten(module, std::move(value), call);
  value = c10::IValue();
  TORCH_CHECK(tensors.size() <= call.capacity, "forward returned ", tensors.size(),
              " tensors, where ", call.capacity, " were expected");
  for (at::Tensor &tensor : tensors) {
    tensor = settle(std::move(tensor));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto *owned = new at::Tensor(std::move(tensors[i]));
    call.outputs[i] = reinterpret_cast<aten_tensor *>(owned);
    call.n_outputs = static_cast<uint32_t>(i + 1);
  }
  return VONK_OK;
}

vonk_status run(script_module *module, script_call *call, script_message *message) {
  call->n_outputs = 0;
  const vonk_status status = guard(VONK_BACKEND, message, [&] {
    const Scope scope;
    return execute(*module, *call);
  });
  for (; status != VONK_OK && call->n_outputs > 0; --call->n_outputs) {
    delete reinterpret_cast<at::Tensor *>(call->outputs[call->n_outputs - 1]);
  }
  return status;
}

void release(script_module *module) {
  script_message ignored;
  (void)guard(VONK_BACKEND, &ignored, [&] {
    delete module;
    return VONK_OK;
  });
}

const script_api api = {
    sizeof(script_api), TORCH_VERSION, open, facts, choose, run, release,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const script_api *
vonk_torchscript_v1() {
  return &api;
}

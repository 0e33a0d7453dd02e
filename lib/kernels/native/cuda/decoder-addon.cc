#include "decoder-addon.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "decoder-op.h"
#include "decoder-session.h"

namespace sparsify::cuda {
namespace {

// Becomes a JavaScript exception. Messages are for this package's own code, which checks what users give.
struct BadCall : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void Require(bool holds, const char* what) {
  if (!holds) throw BadCall(std::string("decoder: ") + what);
}

struct Call {
  static constexpr size_t kMost = 6;
  Call(napi_env e, napi_callback_info info) : env(e) {
    size_t count = kMost;
    Require(napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) == napi_ok, "no arguments");
  }
  napi_env env;
  napi_value arguments[kMost];
};

// What an opaque object holds: a model, or a session. Empty once released.
struct Held {
  std::shared_ptr<DecoderModel> model;
  std::shared_ptr<DecoderSession> session;
};

constexpr napi_type_tag kHeldTag = {0x3c71e09ad54f8b62, 0x94e2b70d1f6ac835};

Held& HeldOf(const Call& call, size_t index) {
  bool ours = false;
  napi_check_object_type_tag(call.env, call.arguments[index], &kHeldTag, &ours);
  void* held = nullptr;
  Require(ours && napi_unwrap(call.env, call.arguments[index], &held) == napi_ok, "this is no model or session");
  return *static_cast<Held*>(held);
}

DecoderSession& SessionOf(const Call& call) {
  Held& held = HeldOf(call, 0);
  Require(held.session != nullptr, "this is no session, or a released one");
  return *held.session;
}

napi_value Hold(napi_env env, Held held) {
  napi_value object = nullptr;
  napi_create_object(env, &object);
  napi_type_tag_object(env, object, &kHeldTag);
  auto owned = std::make_unique<Held>(std::move(held));
  const auto free = [](napi_env, void* data, void*) { delete static_cast<Held*>(data); };
  Require(napi_wrap(env, object, owned.get(), free, nullptr, nullptr) == napi_ok, "out of memory");
  owned.release();
  return object;
}

double NumberOf(const Call& call, size_t index) {
  double value = -1;
  Require(napi_get_value_double(call.env, call.arguments[index], &value) == napi_ok && value >= 0, "give a number");
  return value;
}

bool IsUndefined(const Call& call, size_t index) {
  napi_valuetype type = napi_undefined;
  napi_typeof(call.env, call.arguments[index], &type);
  return type == napi_undefined;
}

template <class T>
struct Array {
  T* data = nullptr;
  size_t size = 0;
};

template <class T>
Array<T> ArrayOf(const Call& call, size_t index, napi_typedarray_type wanted) {
  napi_typedarray_type type;
  Array<T> array;
  void* data = nullptr;
  const napi_status status =
      napi_get_typedarray_info(call.env, call.arguments[index], &type, &array.size, &data, nullptr, nullptr);
  Require(status == napi_ok && type == wanted, "give a typed array of the right type");
  array.data = static_cast<T*>(data);
  return array;
}

napi_value MakeModel(const Call& call) {
  auto model = TakeDecoderModel(static_cast<uint32_t>(NumberOf(call, 0)));
  Require(model != nullptr, "there is no model of that id");
  return Hold(call.env, {std::move(model), nullptr});
}

napi_value MakeSession(const Call& call) {
  Held& held = HeldOf(call, 0);
  Require(held.model != nullptr, "this is no model, or a released one");
  bool narrow = false;
  napi_get_value_bool(call.env, call.arguments[1], &narrow);
  return Hold(call.env, {nullptr, std::make_shared<DecoderSession>(held.model, narrow)});
}

napi_value SetModel(const Call& call) {
  DecoderSession& session = SessionOf(call);
  Held& held = HeldOf(call, 1);
  Require(held.model != nullptr, "this is no model, or a released one");
  Require(session.SetModel(held.model), "the model has other shapes");
  return nullptr;
}

// An append on its way: computed on one of Node's threads, so that the event loop goes on.
struct Work {
  std::shared_ptr<DecoderSession> session;
  Array<int32_t> tokens, targets;
  Array<float> result, thresholds;
  DecoderOutput output;
  napi_ref references[Call::kMost] = {};  // keep the arrays
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  std::string problem;
};

void Execute(napi_env, void* data) {
  auto& work = *static_cast<Work*>(data);
  try {
    work.session->Append(work.tokens.data, work.tokens.size, work.thresholds.data, work.output, work.targets.data,
                         work.result.data);
  } catch (const std::exception& error) {
    work.problem = error.what();
  }
}

void Complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Work> work(static_cast<Work*>(data));
  napi_value value;
  if (work->problem.empty()) {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, work->deferred, value);
  } else {
    napi_value message;
    napi_create_string_utf8(env, work->problem.c_str(), NAPI_AUTO_LENGTH, &message);
    napi_create_error(env, nullptr, message, &value);
    napi_reject_deferred(env, work->deferred, value);
  }
  for (napi_ref reference : work->references) {
    if (reference != nullptr) napi_delete_reference(env, reference);
  }
  napi_delete_async_work(env, work->work);
}

void RequireIds(const Array<int32_t>& ids, size_t vocabulary) {
  for (size_t i = 0; i < ids.size; i++) {
    Require(ids.data[i] >= 0 && static_cast<size_t>(ids.data[i]) < vocabulary, "an id is out of range");
  }
}

napi_value Append(const Call& call) {
  SessionOf(call);
  auto work = std::make_unique<Work>();
  work->session = HeldOf(call, 0).session;
  const DecoderModel& model = work->session->model();
  const size_t vocabulary = model.numbers.vocabulary;
  const auto output = static_cast<uint32_t>(NumberOf(call, 2));
  Require(output <= 2, "output is 0, 1 or 2");
  work->output = static_cast<DecoderOutput>(output);
  work->tokens = ArrayOf<int32_t>(call, 1, napi_int32_array);
  Require(work->tokens.size > 0, "give at least one token");
  RequireIds(work->tokens, vocabulary);
  work->result = ArrayOf<float>(call, 3, napi_float32_array);
  const size_t rows = work->output == DecoderOutput::kLast ? 1 : work->tokens.size;
  const size_t columns = work->output == DecoderOutput::kScores ? 1 : vocabulary;
  Require(work->result.size == rows * columns, "the result has another size");
  if (work->output == DecoderOutput::kScores) {
    work->targets = ArrayOf<int32_t>(call, 4, napi_int32_array);
    Require(work->targets.size == work->tokens.size, "give a target for each token");
    RequireIds(work->targets, vocabulary);
  }
  if (!IsUndefined(call, 5)) {
    work->thresholds = ArrayOf<float>(call, 5, napi_float32_array);
    Require(work->thresholds.size == model.dense_count, "give a threshold for each Dense");
  }
  for (size_t i = 0; i < Call::kMost; i++) {
    napi_valuetype type;
    napi_typeof(call.env, call.arguments[i], &type);
    if (type == napi_object) napi_create_reference(call.env, call.arguments[i], 1, &work->references[i]);
  }
  napi_value promise, name;
  napi_create_promise(call.env, &work->deferred, &promise);
  napi_create_string_utf8(call.env, "sparsify decoder", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(call.env, nullptr, name, &Execute, &Complete, work.get(), &work->work);
  napi_queue_async_work(call.env, work->work);
  work.release();
  return promise;
}

napi_value Truncate(const Call& call) {
  SessionOf(call).Truncate(static_cast<size_t>(NumberOf(call, 1)));
  return nullptr;
}

napi_value Counts(const Call& call) {
  const std::vector<MaskedInputs> counts = SessionOf(call).Counts();
  void* data = nullptr;
  napi_value buffer, array;
  napi_create_arraybuffer(call.env, counts.size() * 2 * sizeof(double), &data, &buffer);
  napi_create_typedarray(call.env, napi_float64_array, counts.size() * 2, buffer, 0, &array);
  auto* next = static_cast<double*>(data);
  for (const MaskedInputs& count : counts) {
    *next++ = static_cast<double>(count.masked);
    *next++ = static_cast<double>(count.total);
  }
  return array;
}

napi_value ResetCounts(const Call& call) {
  SessionOf(call).ResetCounts();
  return nullptr;
}

napi_value Release(const Call& call) {
  HeldOf(call, 0) = {};
  return nullptr;
}

template <napi_value (*kFunction)(const Call&)>
napi_value Callback(napi_env env, napi_callback_info info) {
  try {
    return kFunction(Call(env, info));
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

}  // namespace

void ExportDecoder(napi_env env, napi_value exports) {
  const auto add = [&](const char* name, napi_callback callback) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  };
  add("decoderModel", Callback<MakeModel>);
  add("decoderSession", Callback<MakeSession>);
  add("decoderSetModel", Callback<SetModel>);
  add("decoderAppend", Callback<Append>);
  add("decoderTruncate", Callback<Truncate>);
  add("decoderCounts", Callback<Counts>);
  add("decoderResetCounts", Callback<ResetCounts>);
  add("decoderRelease", Callback<Release>);
}

}  // namespace sparsify::cuda

// The functions of decoder-addon.h for one device's decoder, and what they take from JavaScript.
#ifndef SPARSIFY_DECODER_ADDON_INL_H_
#define SPARSIFY_DECODER_ADDON_INL_H_

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sparsify {

// Becomes a JavaScript exception. Messages are for this package's own code, which checks what users give.
struct BadCall : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void Require(bool holds, const char* what) {
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

inline double NumberOf(const Call& call, size_t index) {
  double value = -1;
  Require(napi_get_value_double(call.env, call.arguments[index], &value) == napi_ok && value >= 0, "give a number");
  return value;
}

inline bool IsUndefined(const Call& call, size_t index) {
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
Array<T> ArrayOf(napi_env env, napi_value value, napi_typedarray_type wanted) {
  napi_typedarray_type type;
  Array<T> array;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env, value, &type, &array.size, &data, nullptr, nullptr);
  Require(status == napi_ok && type == wanted, "give a typed array of the right type");
  array.data = static_cast<T*>(data);
  return array;
}

template <class T>
Array<T> ArrayOf(const Call& call, size_t index, napi_typedarray_type wanted) {
  return ArrayOf<T>(call.env, call.arguments[index], wanted);
}

// The elements of a plain array.
inline std::vector<napi_value> ElementsOf(const Call& call, size_t index) {
  uint32_t size = 0;
  Require(napi_get_array_length(call.env, call.arguments[index], &size) == napi_ok, "give an array");
  std::vector<napi_value> elements(size);
  for (uint32_t i = 0; i < size; i++) napi_get_element(call.env, call.arguments[index], i, &elements[i]);
  return elements;
}

inline void RequireIds(const Array<int32_t>& ids, size_t vocabulary) {
  for (size_t i = 0; i < ids.size; i++) {
    Require(ids.data[i] >= 0 && static_cast<size_t>(ids.data[i]) < vocabulary, "an id is out of range");
  }
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

// D has a device's Model, Session and Output; Take(id), the model that the op prepared; kSteps, whether sessions take a
// step together; and kTag, that of its objects alone.
template <class D>
class DecoderAddon {
 public:
  static void Export(napi_env env, napi_value exports) {
    const auto add = [&](const char* name, napi_callback callback) {
      napi_value function;
      napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
      napi_set_named_property(env, exports, name, function);
    };
    add("decoderModel", Callback<MakeModel>);
    add("decoderSession", Callback<MakeSession>);
    add("decoderSetModel", Callback<SetModel>);
    add("decoderAppend", Callback<Append>);
    if constexpr (D::kSteps) add("decoderStep", Callback<Step>);
    add("decoderTruncate", Callback<Truncate>);
    add("decoderCounts", Callback<Counts>);
    add("decoderResetCounts", Callback<ResetCounts>);
    add("decoderRelease", Callback<Release>);
  }

 private:
  using Model = typename D::Model;
  using Session = typename D::Session;
  using Output = typename D::Output;

  // What an opaque object holds: a model, or a session. Empty once released.
  struct Held {
    std::shared_ptr<Model> model;
    std::shared_ptr<Session> session;
  };

  static Held& HeldOf(napi_env env, napi_value object) {
    bool ours = false;
    napi_check_object_type_tag(env, object, &D::kTag, &ours);
    void* held = nullptr;
    Require(ours && napi_unwrap(env, object, &held) == napi_ok, "this is no model or session");
    return *static_cast<Held*>(held);
  }

  static Held& HeldOf(const Call& call, size_t index) { return HeldOf(call.env, call.arguments[index]); }

  static const std::shared_ptr<Session>& SessionIn(const Held& held) {
    Require(held.session != nullptr, "this is no session, or a released one");
    return held.session;
  }

  static Session& SessionOf(const Call& call) { return *SessionIn(HeldOf(call, 0)); }

  static napi_value Hold(napi_env env, Held held) {
    napi_value object = nullptr;
    napi_create_object(env, &object);
    napi_type_tag_object(env, object, &D::kTag);
    auto owned = std::make_unique<Held>(std::move(held));
    const auto free = [](napi_env, void* data, void*) { delete static_cast<Held*>(data); };
    Require(napi_wrap(env, object, owned.get(), free, nullptr, nullptr) == napi_ok, "out of memory");
    owned.release();
    return object;
  }

  static napi_value MakeModel(const Call& call) {
    auto model = D::Take(static_cast<uint32_t>(NumberOf(call, 0)));
    Require(model != nullptr, "there is no model of that id");
    return Hold(call.env, {std::move(model), nullptr});
  }

  static napi_value MakeSession(const Call& call) {
    Held& held = HeldOf(call, 0);
    Require(held.model != nullptr, "this is no model, or a released one");
    bool narrow = false;
    napi_get_value_bool(call.env, call.arguments[1], &narrow);
    return Hold(call.env, {nullptr, std::make_shared<Session>(held.model, narrow)});
  }

  static napi_value SetModel(const Call& call) {
    Session& session = SessionOf(call);
    Held& held = HeldOf(call, 1);
    Require(held.model != nullptr, "this is no model, or a released one");
    Require(session.SetModel(held.model), "the model has other shapes");
    return nullptr;
  }

  // An append or a step on its way: computed on one of Node's threads, so that the event loop goes on.
  struct Work {
    std::vector<std::shared_ptr<Session>> sessions;  // one for an append
    bool is_step = false;
    Array<int32_t> tokens, targets;
    std::vector<float*> results;  // one for an append
    Array<float> thresholds;
    Output output;
    std::vector<napi_ref> references;  // keep the arrays
    napi_async_work work = nullptr;
    napi_deferred deferred = nullptr;
    std::string problem;
  };

  static void Execute(napi_env, void* data) {
    auto& work = *static_cast<Work*>(data);
    try {
      if constexpr (D::kSteps) {
        if (work.is_step) {
          std::vector<Session*> sessions;
          for (const auto& session : work.sessions) sessions.push_back(session.get());
          Session::Step(sessions, work.tokens.data, work.thresholds.data, work.results.data());
          return;
        }
      }
      work.sessions[0]->Append(work.tokens.data, work.tokens.size, work.thresholds.data, work.output, work.targets.data,
                               work.results[0]);
    } catch (const std::exception& error) {
      work.problem = error.what();
    }
  }

  static void Complete(napi_env env, napi_status, void* data) {
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
    for (napi_ref reference : work->references) napi_delete_reference(env, reference);
    napi_delete_async_work(env, work->work);
  }

  static void ReadThresholds(const Call& call, size_t index, const Model& model, Work& work) {
    if (IsUndefined(call, index)) return;
    work.thresholds = ArrayOf<float>(call, index, napi_float32_array);
    Require(work.thresholds.size == model.dense_count, "give a threshold for each Dense");
  }

  static void Keep(napi_env env, napi_value value, Work& work) {
    napi_valuetype type;
    napi_typeof(env, value, &type);
    if (type != napi_object) return;
    napi_ref reference = nullptr;
    if (napi_create_reference(env, value, 1, &reference) == napi_ok) work.references.push_back(reference);
  }

  // Starts it, and gives the promise.
  static napi_value Queue(const Call& call, std::unique_ptr<Work> work) {
    for (napi_value argument : call.arguments) Keep(call.env, argument, *work);
    napi_value promise, name;
    napi_create_promise(call.env, &work->deferred, &promise);
    napi_create_string_utf8(call.env, "sparsify decoder", NAPI_AUTO_LENGTH, &name);
    napi_create_async_work(call.env, nullptr, name, &Execute, &Complete, work.get(), &work->work);
    napi_queue_async_work(call.env, work->work);
    work.release();
    return promise;
  }

  static napi_value Append(const Call& call) {
    auto work = std::make_unique<Work>();
    work->sessions.push_back(SessionIn(HeldOf(call, 0)));
    const Model& model = work->sessions[0]->model();
    const size_t vocabulary = model.numbers.vocabulary;
    const auto output = static_cast<uint32_t>(NumberOf(call, 2));
    Require(output <= 2, "output is 0, 1 or 2");
    work->output = static_cast<Output>(output);
    work->tokens = ArrayOf<int32_t>(call, 1, napi_int32_array);
    Require(work->tokens.size > 0, "give at least one token");
    RequireIds(work->tokens, vocabulary);
    const Array<float> result = ArrayOf<float>(call, 3, napi_float32_array);
    work->results.push_back(result.data);
    const size_t rows = work->output == Output::kLast ? 1 : work->tokens.size;
    const size_t columns = work->output == Output::kScores ? 1 : vocabulary;
    Require(result.size == rows * columns, "the result has another size");
    if (work->output == Output::kScores) {
      work->targets = ArrayOf<int32_t>(call, 4, napi_int32_array);
      Require(work->targets.size == work->tokens.size, "give a target for each token");
      RequireIds(work->targets, vocabulary);
    }
    ReadThresholds(call, 5, model, *work);
    return Queue(call, std::move(work));
  }

  static napi_value Step(const Call& call) {
    auto work = std::make_unique<Work>();
    work->is_step = true;
    for (napi_value session : ElementsOf(call, 0)) work->sessions.push_back(SessionIn(HeldOf(call.env, session)));
    Require(!work->sessions.empty(), "give at least one session");
    const std::set<std::shared_ptr<Session>> different(work->sessions.begin(), work->sessions.end());
    Require(different.size() == work->sessions.size(), "a session takes one token a step");
    const Model& model = work->sessions[0]->model();
    work->tokens = ArrayOf<int32_t>(call, 1, napi_int32_array);
    Require(work->tokens.size == work->sessions.size(), "give a token for each session");
    RequireIds(work->tokens, model.numbers.vocabulary);
    for (napi_value value : ElementsOf(call, 2)) {
      const Array<float> result = ArrayOf<float>(call.env, value, napi_float32_array);
      Require(result.size == model.numbers.vocabulary, "a result has another size");
      work->results.push_back(result.data);
      Keep(call.env, value, *work);
    }
    Require(work->results.size() == work->sessions.size(), "give a result for each session");
    ReadThresholds(call, 3, model, *work);
    return Queue(call, std::move(work));
  }

  static napi_value Truncate(const Call& call) {
    SessionOf(call).Truncate(static_cast<size_t>(NumberOf(call, 1)));
    return nullptr;
  }

  static napi_value Counts(const Call& call) {
    const auto counts = SessionOf(call).Counts();
    void* data = nullptr;
    napi_value buffer, array;
    napi_create_arraybuffer(call.env, counts.size() * 2 * sizeof(double), &data, &buffer);
    napi_create_typedarray(call.env, napi_float64_array, counts.size() * 2, buffer, 0, &array);
    auto* next = static_cast<double*>(data);
    for (const auto& count : counts) {
      *next++ = static_cast<double>(count.masked);
      *next++ = static_cast<double>(count.total);
    }
    return array;
  }

  static napi_value ResetCounts(const Call& call) {
    SessionOf(call).ResetCounts();
    return nullptr;
  }

  static napi_value Release(const Call& call) {
    HeldOf(call, 0) = {};
    return nullptr;
  }
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_ADDON_INL_H_

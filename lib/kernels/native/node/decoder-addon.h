// The decoder's part of a Node-API module, for the decoder of one device. Models and sessions are opaque objects, whose memory
// goes with the last reference.
//
//   decoderModel(id)                       -> the model that SparsifyDecoderPrepare made
//   decoderSession(model, narrowCache)     -> an empty sequence
//   decoderSetModel(session, model)        goes on with other weights of the same shapes
//   decoderAppend(session, tokens, output, result, targets, thresholds) -> promise of result
//     tokens: Int32Array. output: 0 logits after the last token, 1 after each, 2 scores of `targets`, an Int32Array.
//     result: Float32Array of [vocabulary], [tokens, vocabulary] or [tokens] that is written just before the promise settles;
//     if it is transferred meanwhile the promise gives a new one. thresholds: Float32Array by Dense, or undefined: dense.
//     All other arrays are read before it returns.
//   decoderStep(sessions, tokens, results, thresholds) -> promise of results
//     one token for each of an array of different sessions of one model; results: an array of Float32Array, [vocabulary] each.
//     Only where the device's sessions take a step together.
//   decoderTruncate(session, length)
//   decoderCounts(session)                 -> Float64Array: masked and total of each Dense, in the appends that have ended
//   decoderResetCounts(session)
//   decoderRelease(session or model)       -> frees it before the garbage collector would
#ifndef SPARSIFY_NODE_DECODER_ADDON_H_
#define SPARSIFY_NODE_DECODER_ADDON_H_

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../shared/decoder-output.h"
#include "../shared/prepared-models.h"
#include "node-values.h"

namespace sparsify {

// Becomes a JavaScript exception. Messages are for this package's own code, which checks what users give.
struct BadCall : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void Require(bool holds, const char* what) {
  if (!holds) throw BadCall(std::string("decoder: ") + what);
}

// Of calls that fail only where memory ends, or the process does.
inline void Check(napi_status status) {
  if (status != napi_ok) throw BadCall("decoder: Node-API gave status " + std::to_string(status));
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
  Check(napi_typeof(call.env, call.arguments[index], &type));
  return type == napi_undefined;
}

// A view of memory that JavaScript may give away (transfer) as soon as it runs: to be read or written at once.
template <class T>
struct Array {
  T* data = nullptr;
  size_t size = 0;
};

template <class T>
Array<T> ArrayOf(napi_env env, napi_value value, napi_typedarray_type wanted) {
  napi_typedarray_type type = napi_int8_array;
  Array<T> array;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env, value, &type, &array.size, &data, nullptr, nullptr);
  Require(status == napi_ok && type == wanted, "give a typed array of the right type");
  array.data = static_cast<T*>(data);
  return array;
}

template <class T>
std::vector<T> CopyOf(const Call& call, size_t index, napi_typedarray_type wanted) {
  const Array<T> array = ArrayOf<T>(call.env, call.arguments[index], wanted);
  return {array.data, array.data + array.size};
}

// Keeps a JavaScript value, not the memory that a view has.
class Reference {
 public:
  Reference(napi_env env, napi_value value) : env_(env) { Check(napi_create_reference(env, value, 1, &reference_)); }
  Reference(Reference&& other) noexcept : env_(other.env_), reference_(std::exchange(other.reference_, nullptr)) {}
  Reference& operator=(Reference&&) = delete;
  ~Reference() {
    if (reference_ != nullptr) napi_delete_reference(env_, reference_);
  }
  napi_value Value() const {
    napi_value value = nullptr;
    Check(napi_get_reference_value(env_, reference_, &value));
    return value;
  }

 private:
  napi_env env_;
  napi_ref reference_ = nullptr;
};

// Numbers that are computed while JavaScript runs: in memory of their own, then in the array that was given for them.
class Result {
 public:
  Result(napi_env env, napi_value array, size_t size) : env_(env), array_(env, array), size_(size) {
    Require(ArrayOf<float>(env, array, napi_float32_array).size == size, "a result has another size");
    memory_.reset(new float[size]);
  }
  float* data() const { return memory_.get(); }
  // The array, written; or a new one if that has been transferred.
  napi_value Give() const {
    napi_value value = array_.Value();
    void* data = nullptr;
    const Array<float> array = ArrayOf<float>(env_, value, napi_float32_array);
    if (array.size == size_) {
      data = array.data;
    } else {
      napi_value buffer = nullptr;
      Check(napi_create_arraybuffer(env_, size_ * sizeof(float), &data, &buffer));
      Check(napi_create_typedarray(env_, napi_float32_array, size_, buffer, 0, &value));
    }
    std::memcpy(data, memory_.get(), size_ * sizeof(float));
    return value;
  }

 private:
  napi_env env_;
  Reference array_;
  size_t size_;
  std::unique_ptr<float[]> memory_;
};

// The elements of a plain array.
inline std::vector<napi_value> ElementsOf(const Call& call, size_t index) {
  uint32_t size = 0;
  Require(napi_get_array_length(call.env, call.arguments[index], &size) == napi_ok, "give an array");
  std::vector<napi_value> elements(size);
  for (uint32_t i = 0; i < size; i++) Check(napi_get_element(call.env, call.arguments[index], i, &elements[i]));
  return elements;
}

inline void RequireIds(const std::vector<int32_t>& ids, size_t vocabulary) {
  for (const int32_t id : ids) Require(id >= 0 && static_cast<size_t>(id) < vocabulary, "an id is out of range");
}

// What JavaScript is to be told; null if nothing can be any more.
inline napi_value ErrorOf(napi_env env, const std::string& problem) {
  bool pending = false;
  napi_value message = nullptr, error = nullptr;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok) {
    return error;
  }
  if (napi_create_string_utf8(env, problem.c_str(), problem.size(), &message) != napi_ok ||
      napi_create_error(env, nullptr, message, &error) != napi_ok) {
    return nullptr;
  }
  return error;
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

// For a device's model and session. kSteps says whether sessions take a step together; only this addon's objects have the tag.
template <class Model, class Session, bool kSteps, uint64_t kTagLower, uint64_t kTagUpper>
class DecoderAddon {
 public:
  // An exception is pending if it fails.
  static void Export(napi_env env, napi_value exports) {
    ExportFunctions(env, exports,
                    {{"decoderModel", Callback<MakeModel>},
                     {"decoderSession", Callback<MakeSession>},
                     {"decoderSetModel", Callback<SetModel>},
                     {"decoderAppend", Callback<Append>},
                     {"decoderTruncate", Callback<Truncate>},
                     {"decoderCounts", Callback<Counts>},
                     {"decoderResetCounts", Callback<ResetCounts>},
                     {"decoderRelease", Callback<Release>}});
    if constexpr (kSteps) ExportFunctions(env, exports, {{"decoderStep", Callback<Step>}});
  }

 private:
  static constexpr napi_type_tag kTag = {kTagLower, kTagUpper};

  // What an opaque object holds: a model, or a session. Empty once released.
  struct Held {
    std::shared_ptr<Model> model;
    std::shared_ptr<Session> session;
  };

  static Held& HeldOf(napi_env env, napi_value object) {
    bool ours = false;
    void* held = nullptr;
    Require(napi_check_object_type_tag(env, object, &kTag, &ours) == napi_ok && ours &&
                napi_unwrap(env, object, &held) == napi_ok,
            "this is no model or session");
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
    Check(napi_create_object(env, &object));
    Check(napi_type_tag_object(env, object, &kTag));
    auto owned = std::make_unique<Held>(std::move(held));
    const auto free = [](napi_env, void* data, void*) { delete static_cast<Held*>(data); };
    Check(napi_wrap(env, object, owned.get(), free, nullptr, nullptr));
    owned.release();
    return object;
  }

  static napi_value MakeModel(const Call& call) {
    auto model = PreparedModels<Model>::All().Take(static_cast<uint32_t>(NumberOf(call, 0)));
    Require(model != nullptr, "there is no model of that id");
    return Hold(call.env, {std::move(model), nullptr});
  }

  static napi_value MakeSession(const Call& call) {
    Held& held = HeldOf(call, 0);
    Require(held.model != nullptr, "this is no model, or a released one");
    bool narrow = false;
    Require(napi_get_value_bool(call.env, call.arguments[1], &narrow) == napi_ok, "give whether the cache is narrow");
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
    std::vector<int32_t> tokens, targets;
    std::vector<Result> results;    // one for an append
    std::vector<float> thresholds;  // empty: dense
    DecoderOutput output{};
    napi_async_work work = nullptr;
    napi_deferred deferred = nullptr;
    std::string problem;
  };

  static void Execute(napi_env, void* data) {
    auto& work = *static_cast<Work*>(data);
    const float* const thresholds = work.thresholds.empty() ? nullptr : work.thresholds.data();
    try {
      if constexpr (kSteps) {
        if (work.is_step) {
          std::vector<Session*> sessions;
          for (const auto& session : work.sessions) sessions.push_back(session.get());
          std::vector<float*> results;
          for (const Result& result : work.results) results.push_back(result.data());
          Session::Step(sessions, work.tokens.data(), thresholds, results.data());
          return;
        }
      }
      work.sessions[0]->Append(work.tokens.data(), work.tokens.size(), thresholds, work.output, work.targets.data(),
                               work.results[0].data());
    } catch (const std::exception& error) {
      work.problem = error.what();
    }
  }

  static napi_value ResultsOf(napi_env env, const Work& work) {
    if (!work.is_step) return work.results[0].Give();
    napi_value results = nullptr;
    Check(napi_create_array_with_length(env, work.results.size(), &results));
    for (uint32_t i = 0; i < work.results.size(); i++) {
      Check(napi_set_element(env, results, i, work.results[i].Give()));
    }
    return results;
  }

  // A failure here leaves nobody to be told: the environment ends.
  static void Reject(napi_env env, napi_deferred deferred, const std::string& problem) {
    if (napi_value error = ErrorOf(env, problem)) napi_reject_deferred(env, deferred, error);
  }

  static void Complete(napi_env env, napi_status status, void* data) {
    const std::unique_ptr<Work> work(static_cast<Work*>(data));
    try {
      if (!work->problem.empty()) throw BadCall(work->problem);
      Check(status);  // cancelled: never computed
      Check(napi_resolve_deferred(env, work->deferred, ResultsOf(env, *work)));
    } catch (const std::exception& error) {
      Reject(env, work->deferred, error.what());
    }
    napi_delete_async_work(env, work->work);
  }

  static void ReadThresholds(const Call& call, size_t index, const Model& model, Work& work) {
    if (IsUndefined(call, index)) return;
    work.thresholds = CopyOf<float>(call, index, napi_float32_array);
    Require(work.thresholds.size() == model.dense_count(), "give a threshold for each Dense");
  }

  // Starts it, and gives the promise.
  static napi_value Queue(const Call& call, std::unique_ptr<Work> work) {
    napi_value promise = nullptr, name = nullptr;
    Check(napi_create_string_utf8(call.env, "sparsify decoder", NAPI_AUTO_LENGTH, &name));
    Check(napi_create_promise(call.env, &work->deferred, &promise));
    try {
      Check(napi_create_async_work(call.env, nullptr, name, &Execute, &Complete, work.get(), &work->work));
      Check(napi_queue_async_work(call.env, work->work));
      work.release();
    } catch (const std::exception& error) {
      if (work->work != nullptr) napi_delete_async_work(call.env, work->work);
      Reject(call.env, work->deferred, error.what());
    }
    return promise;
  }

  static napi_value Append(const Call& call) {
    auto work = std::make_unique<Work>();
    work->sessions.push_back(SessionIn(HeldOf(call, 0)));
    const Model& model = work->sessions[0]->model();
    const size_t vocabulary = model.numbers.vocabulary;
    const auto output = static_cast<uint32_t>(NumberOf(call, 2));
    Require(output <= 2, "output is 0, 1 or 2");
    work->output = static_cast<DecoderOutput>(output);
    work->tokens = CopyOf<int32_t>(call, 1, napi_int32_array);
    Require(!work->tokens.empty(), "give at least one token");
    RequireIds(work->tokens, vocabulary);
    const size_t rows = work->output == DecoderOutput::kLast ? 1 : work->tokens.size();
    const size_t columns = work->output == DecoderOutput::kScores ? 1 : vocabulary;
    work->results.emplace_back(call.env, call.arguments[3], rows * columns);
    if (work->output == DecoderOutput::kScores) {
      work->targets = CopyOf<int32_t>(call, 4, napi_int32_array);
      Require(work->targets.size() == work->tokens.size(), "give a target for each token");
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
    work->tokens = CopyOf<int32_t>(call, 1, napi_int32_array);
    Require(work->tokens.size() == work->sessions.size(), "give a token for each session");
    RequireIds(work->tokens, model.numbers.vocabulary);
    for (napi_value value : ElementsOf(call, 2)) {
      work->results.emplace_back(call.env, value, model.numbers.vocabulary);
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
    const std::vector<MaskedInputs> counts = SessionOf(call).counts().Get();
    void* data = nullptr;
    napi_value buffer = nullptr, array = nullptr;
    Check(napi_create_arraybuffer(call.env, counts.size() * 2 * sizeof(double), &data, &buffer));
    Check(napi_create_typedarray(call.env, napi_float64_array, counts.size() * 2, buffer, 0, &array));
    auto* next = static_cast<double*>(data);
    for (const MaskedInputs& count : counts) {
      *next++ = static_cast<double>(count.masked);
      *next++ = static_cast<double>(count.total);
    }
    return array;
  }

  static napi_value ResetCounts(const Call& call) {
    SessionOf(call).counts().Reset();
    return nullptr;
  }

  static napi_value Release(const Call& call) {
    HeldOf(call, 0) = {};
    return nullptr;
  }
};

}  // namespace sparsify

#endif  // SPARSIFY_NODE_DECODER_ADDON_H_

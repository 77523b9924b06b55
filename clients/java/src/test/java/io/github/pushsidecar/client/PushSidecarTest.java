package io.github.pushsidecar.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.github.pushsidecar.client.FakeSidecar.Call;
import io.github.pushsidecar.type.v1.ErrorReason;
import io.github.pushsidecar.xg.v1.AllDevices;
import io.github.pushsidecar.xg.v1.AndroidMessage;
import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.github.pushsidecar.xg.v1.PushServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ConnectivityState;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.netty.channel.epoll.Epoll;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(30)
class PushSidecarTest {
  private static final PushRequest REQUEST =
      PushRequest.newBuilder()
          .setAll(AllDevices.getDefaultInstance())
          .setAndroidMessage(AndroidMessage.newBuilder().setTitle("t").setContent("c"))
          .build();

  @Test
  void pushArrivesAndItsAnswerComesBack() throws Exception {
    try (FakeSidecar fake = FakeSidecar.answering(Call::accept);
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      assertEquals("42", sidecar.push(REQUEST).getPushId());
      assertEquals("42", sidecar.futureStub().push(REQUEST).get().getPushId());
      assertEquals(REQUEST, fake.calls().get(0).request());
    }
  }

  @Test
  void callWithoutDeadlineGetsOne() throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(Call::accept);
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      sidecar.push(REQUEST);
      assertDeadline(30, fake);
    }
  }

  @Test
  void defaultDeadlineCanBeChanged() throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(Call::accept);
        PushSidecar sidecar = PushSidecar.builder(fake.target()).defaultDeadline(Duration.ofSeconds(300)).build()) {
      sidecar.push(REQUEST);
      assertDeadline(300, fake);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {15, 600})
  void deadlineOfTheCallIsKept(long seconds) throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(Call::accept);
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      sidecar.push(REQUEST, Duration.ofSeconds(seconds));
      assertDeadline(seconds, fake);
    }
  }

  @Test
  void deadlineOfTheContextIsKept() throws IOException {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    try (FakeSidecar fake = FakeSidecar.answering(Call::accept);
        PushSidecar sidecar = PushSidecar.connect(fake.target());
        Context.CancellableContext context = Context.current().withDeadlineAfter(600, TimeUnit.SECONDS, timer)) {
      context.run(() -> sidecar.push(REQUEST));
      assertDeadline(600, fake);
    } finally {
      timer.shutdownNow();
    }
  }

  @Test
  void deadlineThatPassesIsMaybe() throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(call -> {});
        PushSidecar sidecar = PushSidecar.builder(fake.target()).defaultDeadline(Duration.ofMillis(200)).build()) {
      PushError error = failure(sidecar);
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
      assertEquals(Sent.MAYBE, error.sent());
    }
  }

  @Test
  void defaultDeadlineMustBePositive() {
    PushSidecar.Builder builder = PushSidecar.builder("localhost:1");
    assertThrows(IllegalArgumentException.class, () -> builder.defaultDeadline(Duration.ZERO));
  }

  @Test
  void detailsCrossTheWire() throws IOException {
    StatusRuntimeException refused =
        PushErrorTest.error(
            Status.Code.INVALID_ARGUMENT, PushErrorTest.info("VENDOR_REJECTED", "sent", "no", "vendor_code", "10103"));
    try (FakeSidecar fake = FakeSidecar.answering(call -> call.fail(refused));
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      PushError error = failure(sidecar);
      assertEquals(ErrorReason.ERROR_REASON_VENDOR_REJECTED, error.reason());
      assertEquals(Sent.NO, error.sent());
      assertEquals(10103, error.vendorCode().orElseThrow());
    }
  }

  @Test
  void unavailableIsRetriedUntilItSucceeds() throws IOException {
    try (FakeSidecar fake =
            FakeSidecar.answering(
                call -> {
                  if (call.number() < 3) {
                    call.fail(Status.UNAVAILABLE.asRuntimeException());
                  } else {
                    call.accept();
                  }
                });
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      assertEquals("42", sidecar.push(REQUEST).getPushId());
      assertEquals(3, fake.calls().size());
    }
  }

  @Test
  void unavailableIsTriedFourTimesAndItsDetailsAreKept() throws IOException {
    StatusRuntimeException notSent =
        PushErrorTest.error(Status.Code.UNAVAILABLE, PushErrorTest.info("NOT_SENT", "sent", "no"));
    try (FakeSidecar fake = FakeSidecar.answering(call -> call.fail(notSent));
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      assertEquals(ErrorReason.ERROR_REASON_NOT_SENT, failure(sidecar).reason());
      assertEquals(4, fake.calls().size());
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Status.Code.class,
      mode = EnumSource.Mode.EXCLUDE,
      names = {"OK", "UNAVAILABLE"})
  void nothingElseIsRetried(Status.Code code) throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(call -> call.fail(code.toStatus().asRuntimeException()));
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      assertEquals(code, failure(sidecar).code());
      assertEquals(1, fake.calls().size());
    }
  }

  @Test
  void methodThatPromisesNoEarlyHeadersIsNotRetried() throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(call -> call.fail(Status.UNAVAILABLE.asRuntimeException()));
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      StatusRuntimeException error = assertThrows(StatusRuntimeException.class, () -> later(sidecar.stub().getChannel()));
      assertEquals(Status.Code.UNAVAILABLE, error.getStatus().getCode());
      assertEquals(1, fake.calls().size());
    }
  }

  @Test
  void callThatHasHeadersIsNotRetriedWhenTheSidecarFailsIt() throws IOException {
    try (FakeSidecar fake =
            FakeSidecar.answering(
                call -> {
                  call.sendHeaders();
                  call.fail(Status.UNAVAILABLE.asRuntimeException());
                });
        PushSidecar sidecar = PushSidecar.connect(fake.target())) {
      PushError error = failure(sidecar);
      assertEquals(Status.Code.UNAVAILABLE, error.code());
      assertEquals(Sent.MAYBE, error.sent());
      assertEquals(1, fake.calls().size());
    }
  }

  @Test
  void callThatHasHeadersIsNotRetriedWhenTheConnectionDrops() throws Exception {
    HeadersSeen headers = new HeadersSeen();
    try (FakeSidecar fake = FakeSidecar.answering(call -> answerTheSecond(call, call::sendHeaders));
        Relay relay = new Relay(fake.target());
        PushSidecar sidecar =
            PushSidecar.builder(relay.target()).customize(channel -> channel.intercept(headers)).build()) {
      Future<PushResponse> answer = sidecar.futureStub().push(REQUEST);
      headers.seen.await();
      relay.drop();
      PushError error = PushError.of(assertThrows(ExecutionException.class, answer::get));
      assertEquals(Status.Code.UNAVAILABLE, error.code());
      assertEquals(Sent.MAYBE, error.sent());
      assertEquals(1, fake.calls().size());
    }
  }

  @Test
  void callThatHasNoHeadersIsRetriedWhenTheConnectionDrops() throws Exception {
    CountDownLatch arrived = new CountDownLatch(1);
    try (FakeSidecar fake = FakeSidecar.answering(call -> answerTheSecond(call, arrived::countDown));
        Relay relay = new Relay(fake.target());
        PushSidecar sidecar = PushSidecar.connect(relay.target())) {
      Future<PushResponse> answer = sidecar.futureStub().push(REQUEST);
      arrived.await();
      relay.drop();
      assertEquals("42", answer.get().getPushId());
      assertEquals(2, fake.calls().size());
    }
  }

  @Test
  void unixSocketWorks(@TempDir Path folder) throws IOException {
    assumeTrue(Epoll.isAvailable(), "unix sockets need Linux");
    Path socket = folder.resolve("push.sock");
    try (FakeSidecar fake = FakeSidecar.answeringOn(socket, Call::accept);
        PushSidecar sidecar = PushSidecar.connect("unix:" + socket)) {
      assertEquals("42", sidecar.push(REQUEST).getPushId());
      assertDeadline(30, fake);
    }
  }

  @Test
  void callWaitsForASidecarThatIsNotUpYet(@TempDir Path folder) throws Exception {
    assumeTrue(Epoll.isAvailable(), "unix sockets need Linux");
    Path socket = folder.resolve("push.sock");
    ManagedChannel channel = PushSidecar.channel("unix:" + socket);
    try {
      Future<PushResponse> answer = PushServiceGrpc.newFutureStub(channel).push(REQUEST);
      failedConnection(channel).get();
      try (FakeSidecar fake = FakeSidecar.answeringOn(socket, Call::accept)) {
        assertEquals("42", answer.get().getPushId());
        assertEquals(1, fake.calls().size());
      }
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void callOfAnyMethodWaitsForASidecarThatIsNotUpYet(@TempDir Path folder) throws Exception {
    assumeTrue(Epoll.isAvailable(), "unix sockets need Linux");
    Path socket = folder.resolve("push.sock");
    ManagedChannel channel = PushSidecar.channel("unix:" + socket);
    try {
      CompletableFuture<PushResponse> answer = CompletableFuture.supplyAsync(() -> later(channel));
      failedConnection(channel).get();
      try (FakeSidecar fake = FakeSidecar.answeringOn(socket, Call::accept)) {
        assertEquals("42", answer.get().getPushId());
        assertEquals(1, fake.calls().size());
      }
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void sidecarThatStaysDownIsAnErrorOfTheLibraryAndMaybe(@TempDir Path folder) {
    assumeTrue(Epoll.isAvailable(), "unix sockets need Linux");
    try (PushSidecar sidecar = PushSidecar.connect("unix:" + folder.resolve("nobody.sock"))) {
      PushError error =
          PushError.of(
              assertThrows(StatusRuntimeException.class, () -> sidecar.push(REQUEST, Duration.ofMillis(300))));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
      assertEquals(Sent.MAYBE, error.sent());
      assertEquals("", error.reasonText());
    }
  }

  @Test
  void callThatIsToldNotToWaitFailsAtOnce(@TempDir Path folder) {
    assumeTrue(Epoll.isAvailable(), "unix sockets need Linux");
    try (PushSidecar sidecar =
        PushSidecar.builder("unix:" + folder.resolve("nobody.sock"))
            .customize(ManagedChannelBuilder::disableRetry)
            .build()) {
      StatusRuntimeException error =
          assertThrows(
              StatusRuntimeException.class,
              () -> sidecar.stub().withOption(PushSidecar.WAIT_FOR_READY, false).push(REQUEST));
      assertEquals(Status.Code.UNAVAILABLE, error.getStatus().getCode());
    }
  }

  @Test
  void lostConnectionIsTriedAgainAtShortIntervals() throws IOException {
    try (ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      // Shorter than the longest of gRPC's own waits between nine attempts.
      listener.setSoTimeout(5_000);
      ManagedChannel channel =
          PushSidecar.builder("127.0.0.1:" + listener.getLocalPort()).buildChannel(Duration.ofMillis(20));
      try {
        channel.getState(true);
        for (int attempt = 0; attempt < 9; attempt++) {
          listener.accept().close();
        }
      } finally {
        channel.shutdownNow();
      }
    }
  }

  @Test
  void closeLetsTheCallsInFlightEnd() throws Exception {
    CompletableFuture<Call> arrived = new CompletableFuture<>();
    try (FakeSidecar fake = FakeSidecar.answering(arrived::complete)) {
      PushSidecar sidecar = PushSidecar.connect(fake.target());
      Future<PushResponse> answer = sidecar.futureStub().push(REQUEST);
      Call call = arrived.get();
      ManagedChannel channel = (ManagedChannel) sidecar.stub().getChannel();
      CompletableFuture<Void> closed = CompletableFuture.runAsync(sidecar::close);
      while (!channel.isShutdown()) {
        Thread.onSpinWait();
      }
      call.accept();
      closed.get();
      assertEquals("42", answer.get().getPushId());
    }
  }

  private static void answerTheSecond(Call call, Runnable first) {
    if (call.number() == 1) {
      first.run();
    } else {
      call.accept();
    }
  }

  private static PushResponse later(Channel channel) {
    return ClientCalls.blockingUnaryCall(channel, FakeSidecar.LATER_METHOD, CallOptions.DEFAULT, REQUEST);
  }

  private static PushError failure(PushSidecar sidecar) {
    return PushError.of(assertThrows(StatusRuntimeException.class, () -> sidecar.push(REQUEST)));
  }

  private static void assertDeadline(long expectedSeconds, FakeSidecar fake) {
    Deadline deadline = fake.calls().get(0).deadline();
    assertNotNull(deadline, "the server saw no deadline");
    long seconds = deadline.timeRemaining(TimeUnit.SECONDS);
    assertTrue(seconds > expectedSeconds - 10 && seconds <= expectedSeconds, "deadline in " + seconds + " s");
  }

  private static CompletableFuture<Void> failedConnection(ManagedChannel channel) {
    CompletableFuture<Void> failed = new CompletableFuture<>();
    watch(channel, failed);
    return failed;
  }

  private static void watch(ManagedChannel channel, CompletableFuture<Void> failed) {
    ConnectivityState state = channel.getState(false);
    if (state == ConnectivityState.TRANSIENT_FAILURE) {
      failed.complete(null);
    } else {
      channel.notifyWhenStateChanged(state, () -> watch(channel, failed));
    }
  }

  private static final class HeadersSeen implements ClientInterceptor {
    final CountDownLatch seen = new CountDownLatch(1);

    @Override
    public <ReqT, RespT> ClientCall<ReqT, RespT> interceptCall(
        MethodDescriptor<ReqT, RespT> method, CallOptions options, Channel next) {
      return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<RespT> listener, Metadata headers) {
          super.start(
              new SimpleForwardingClientCallListener<>(listener) {
                @Override
                public void onHeaders(Metadata received) {
                  seen.countDown();
                  super.onHeaders(received);
                }
              },
              headers);
        }
      };
    }
  }
}
